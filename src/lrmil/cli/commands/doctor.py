"""`lrmil doctor`: show versions, devices and formats, or whether an encoder can be used here."""

import argparse

from lrmil.cli.arguments import Commands, add_json, command

SUMMARY = "show versions, devices and slide formats"


def add(commands: Commands) -> None:
    """Add the parser of `lrmil doctor`."""
    parser = command(commands, "doctor", SUMMARY, "lrmil doctor --encoder uni2-h", run)
    text = "check whether this encoder can be used here; downloads nothing"
    parser.add_argument("--encoder", metavar="NAME", help=text)
    add_json(parser)


def run(options: argparse.Namespace) -> int:
    """Print what this installation can do, or whether an encoder can be used here."""
    if options.encoder:
        return _report_encoder(options.encoder, as_json=options.json)
    return _report_installation(as_json=options.json)


def _report_encoder(name: str, *, as_json: bool) -> int:
    from lrmil.cli.printing import print_json, stdout, word
    from lrmil.models.encoders.facts import encoder_facts

    facts, is_usable = encoder_facts(name)
    if as_json:
        print_json(facts)
    else:
        for key, value in facts.items():
            if value != "":
                shown = value if isinstance(value, str | int | float) and not isinstance(value, bool) else word(value)
                stdout.print(f"{key.replace('_', ' ')}: {shown}", markup=False)
    return 0 if is_usable else 1


def _report_installation(*, as_json: bool) -> int:
    from lrmil.cli.printing import print_json, stdout
    from lrmil.models.devices import available_devices, pick_device
    from lrmil.runs.environment import installed_versions
    from lrmil.slides.source import FLAT_EXTENSIONS, OPENSLIDE_EXTENSIONS, TIFF_EXTENSIONS, ZARR_EXTENSIONS

    versions = installed_versions()
    if as_json:
        facts = {
            "versions": versions,
            "devices": [device._asdict() for device in available_devices()],
            "default_device": str(pick_device("auto")),
            "formats": {
                "tifffile": TIFF_EXTENSIONS,
                "openslide": OPENSLIDE_EXTENSIONS,
                "zarr": ZARR_EXTENSIONS,
                "pillow": FLAT_EXTENSIONS,
            },
        }
        print_json(facts)
        return 0
    for package, version in versions.items():
        stdout.print(f"{package}: {version}", markup=False)
    for device in available_devices():
        free = "" if device.free_bytes is None else f", {device.free_bytes / 2**30:.1f} GiB free"
        stdout.print(f"device {device.name}: {device.description}{free}", markup=False)
    stdout.print(f"slides read with tifffile: {', '.join(TIFF_EXTENSIONS)}", markup=False)
    stdout.print(f"slides read with OpenSlide: {', '.join(OPENSLIDE_EXTENSIONS)}, and some .svs files", markup=False)
    stdout.print(f"slides read with zarr: {', '.join(ZARR_EXTENSIONS)} (OME-Zarr 0.4 and 0.5)", markup=False)
    stdout.print(f"pictures read with Pillow: {', '.join(FLAT_EXTENSIONS)} (give their um/px)", markup=False)
    return 0
