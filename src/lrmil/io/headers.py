"""The columns by which the tables that lrmil wrote are known again."""

PREDICTIONS = ["slide_id", "status", "label"]
PREDICTIONS_TAIL = {"mpp", "mpp_source", "n_patches", "failed_patches", "seconds", "message"}
PATIENTS = ["case_id", "status", "label"]
PATIENTS_TAIL = ["n_slides", "failed_slides", "uncertain_slides", "rule", "model", "slides", "message"]
OUT_OF_FOLD = ["slide_id", "case_id", "fold", "arm", "label"]
SPLITS = ["fold", "slide_id", "case_id", "label", "part"]
REVIEWS = ["slide_id", "output_status", "output_label"]
REVIEW = {"decision", "human_label", "note", "reviewer", "human_first", "reviewed_at"}
REVIEWS_TAIL = ["seconds_viewed", "slide_fingerprint", "bundle_sha256", "version"]
LABELS = ["slide_id", "case_id", "label", "split"]
