"""The items of TRIPOD+AI (2024), for studies that develop and evaluate a prediction model."""

from lrmil.reports.checklist import Checklist, Item

STUDENT, BASELINE, TEACHER = "Test, LR student", "Test, LR undistilled (baseline)", "Test, HR teacher"
CALIBRATED, DIFFERENCE = "Test, LR student calibrated", "Test, difference"

TRIPOD_AI = Checklist(
    "TRIPOD+AI checklist",
    "Collins et al., BMJ 385, e078378 (2024), doi:10.1136/bmj-2023-078378.",
    {
        "Title and abstract": (
            Item("1", "Title: developed or evaluated, on whom, which outcome", ("Classes",)),
            Item("2", "Abstract, by the list of TRIPOD+AI for abstracts"),
        ),
        "Introduction": (
            Item("3a", "Setting in health care, reason for the model, models that exist"),
            Item("3b", "Target population, purpose in the care pathway, intended users"),
            Item("3c", "Known inequalities in health between groups of people"),
            Item("4", "Objectives: development, evaluation, or both"),
        ),
        "Methods": (
            Item("5a", "Sources of the data of development and evaluation, and whom they represent"),
            Item("5b", "Dates of the data, with the end of follow-up"),
            Item("6a", "Setting, number and places of the centres"),
            Item("6b", "Who was eligible"),
            Item("6c", "Treatments received, and how they were handled"),
            Item(
                "7",
                "Preparation of the data and checks of their quality",
                ("Reads",),
                "see the data problems in the report",
            ),
            Item("8a", "The outcome, how and when it was assessed, and why it was chosen", ("Classes",)),
            Item("8b", "Who assessed the outcome, where that takes judgement"),
            Item("8c", "What was done to blind the assessment of the outcome"),
            Item("9a", "How predictors were chosen before modelling", ("Reads",)),
            Item("9b", "The predictors, how and when they were measured: scanner, stain, resolution", ("Reads",)),
            Item("9c", "Who assessed the predictors, where that takes judgement"),
            Item("10", "How the numbers of participants came about, and whether they suffice", ("Trained on",)),
            Item("11", "Missing data, and why data were left out", (), "see the data problems in the report"),
            Item("12a", "How the data were used and divided", ("Partitions", "Trained on", "Evaluation")),
            Item("12b", "How predictors went into the model", ("Networks", "Reads")),
            Item(
                "12c",
                "Kind of model, how it was built, tuned and validated internally",
                ("MIL head", "Networks", "Settings"),
            ),
            Item("12d", "Differences between clusters such as hospitals, and how they were handled"),
            Item("12e", "Measures and plots of performance, and how models were compared", ("Intervals", DIFFERENCE)),
            Item("12f", "Updating of the model after evaluation, such as recalibration"),
            Item("12g", "How predictions were calculated for the evaluation", ("Evaluation",)),
            Item(
                "13", "Methods against class imbalance, and recalibration after them", ("Rare classes", "Calibration")
            ),
            Item("14", "What was done about fairness, and why"),
            Item("15", "Output of the model, and how thresholds were chosen", ("Output", "Calibration")),
            Item("16", "How the data of development and evaluation differ"),
            Item("17", "Ethics committee, and consent or its waiver"),
        ),
        "Open science": (
            Item("18a", "Funding, and the part that funders had"),
            Item("18b", "Conflicts of interest"),
            Item("18c", "Protocol"),
            Item("18d", "Registration"),
            Item("18e", "Availability of the data"),
            Item("18f", "Availability of the code", ("Trained",)),
        ),
        "Patient and public involvement": (
            Item("19", "Involvement of patients and the public, or that there was none"),
        ),
        "Results": (
            Item("20a", "Flow of participants, with and without the outcome", ("Trained on", "Test slides by class")),
            Item("20b", "Characteristics of the participants, in all and by source"),
            Item("20c", "Comparison of the data of evaluation and development"),
            Item("21", "Participants and outcomes in each analysis", ("Trained on", "Test slides by class")),
            Item(
                "22",
                "The model itself, so that others can use it, and what restricts that",
                ("Hash", "Licence", "Teacher", "Start"),
            ),
            Item(
                "23a",
                "Performance with intervals, also of subgroups",
                (STUDENT, CALIBRATED, BASELINE, TEACHER, DIFFERENCE),
            ),
            Item("23b", "Differences in performance between clusters"),
            Item("24", "Result of updating the model"),
        ),
        "Discussion": (
            Item("25", "Interpretation, with fairness, objectives and earlier studies", (DIFFERENCE,)),
            Item("26", "Limitations, and what they do to bias, uncertainty and generalisation"),
            Item("27a", "Poor or missing input when the model is used: how it is recognised and handled"),
            Item("27b", "What users do with input and model, and the expertise that takes"),
            Item("27c", "Next steps, with a view to where the model applies"),
        ),
    },
)
