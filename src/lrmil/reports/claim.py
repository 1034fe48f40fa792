"""The items of CLAIM, the checklist for artificial intelligence in medical imaging, in its update of 2024."""

from lrmil.reports.checklist import Checklist, Item
from lrmil.reports.tripod_ai import BASELINE, CALIBRATED, DIFFERENCE, STUDENT, TEACHER

CLAIM = Checklist(
    "CLAIM checklist, 2024 update",
    "Tejani et al., Radiology: Artificial Intelligence 6, e240300 (2024), doi:10.1148/ryai.240300.",
    {
        "Title and abstract": (
            Item("1", "Named as a study of AI, with the kind of technology", ("MIL head",)),
            Item("2", "Summary of design, methods, results and conclusions"),
        ),
        "Introduction": (
            Item("3", "Background, intended use and role of the AI"),
            Item("4", "Aims, objectives and hypotheses"),
        ),
        "Methods: study design": (
            Item("5", "Prospective or retrospective"),
            Item("6", "Goal of the study"),
        ),
        "Methods: data": (
            Item("7", "Sources of the data"),
            Item("8", "Criteria of inclusion and exclusion"),
            Item("9", "Preprocessing", ("Reads",)),
            Item("10", "Selection of parts of the data", ("Reads",)),
            Item("11", "De-identification"),
            Item("12", "Missing data", (), "see the data problems in the report"),
            Item("13", "How the images were acquired: scanner, stain, resolution", ("Reads",)),
        ),
        "Methods: reference standard": (
            Item("14", "How the reference standard was obtained", ("Classes",)),
            Item("15", "Why this reference standard"),
            Item("16", "Who annotated, and with which qualification"),
            Item("17", "Annotation of the test set"),
            Item("18", "Agreement between and within annotators", (), "lrmil agreement measures that of reviews"),
        ),
        "Methods: data partitions": (
            Item("19", "How data were assigned to the parts", ("Partitions", "Trained on", "Evaluation")),
            Item("20", "Level at which the parts are disjoint", ("Partitions",)),
        ),
        "Methods: testing data": (Item("21", "Intended size of the sample"),),
        "Methods: model": (
            Item("22", "The model: inputs, outputs, layers", ("Reads", "Output", "MIL head", "Networks")),
            Item("23", "Software, with versions", ("Trained",), "see environment.json in the folder of the run"),
            Item("24", "How the weights were initialised", ("Start", "Teacher")),
        ),
        "Methods: training": (
            Item(
                "25",
                "Training: augmentation, settings, number of models",
                ("Settings", "Rare classes", "End-to-end finish"),
            ),
            Item("26", "How the final model was selected", ("Trained on", "MIL head")),
            Item("27", "Ensembles", ("MIL head",)),
        ),
        "Methods: evaluation": (
            Item("28", "Measures of performance", (STUDENT,)),
            Item("29", "Significance and uncertainty", ("Intervals",)),
            Item("30", "Robustness and sensitivity"),
            Item("31", "Methods to explain answers", (), "lrmil writes the attention of each slide"),
            Item("32", "Evaluation on internal data", ("Evaluation",)),
            Item("33", "Testing on external data", (), "lrmil evaluate measures a model on other slides"),
            Item("34", "Registration of a clinical trial"),
        ),
        "Results: data": (
            Item("35", "Patients or slides included and left out", ("Trained on", "Test slides by class")),
            Item("36", "Characteristics of the cases in each part"),
        ),
        "Results: model performance": (
            Item("37", "Performance and its uncertainty", (STUDENT, CALIBRATED, BASELINE, TEACHER)),
            Item("38", "Diagnostic performance and its precision", (STUDENT, DIFFERENCE)),
            Item("39", "Analysis of wrong answers", (), "the report shows wrong answers first"),
        ),
        "Discussion": (
            Item("40", "Limitations"),
            Item("41", "What follows for practice, with intended use and role"),
        ),
        "Other information": (
            Item("42", "Full protocol, or further technical details", ("Settings",)),
            Item("43", "Availability of software, model and data", ("Licence", "Hash")),
            Item("44", "Funding, and the part that funders had"),
        ),
    },
)
