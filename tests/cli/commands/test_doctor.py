"""`lrmil doctor`: what this installation can do."""

import json

from support.cli import RunCli


def test_doctor(run_cli: RunCli) -> None:
    code, out, _ = run_cli("doctor", "--json")
    facts = json.loads(out)
    assert code == 0 and facts["versions"]["torch"] and facts["devices"][-1]["name"] == "cpu"
    assert run_cli("doctor")[0] == 0
