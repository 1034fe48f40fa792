"""A linear model on the mean embedding of a slide: what a classifier that weighs patches must not lose to."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from lrmil.tasks.answers import Target

INVERSE_PENALTY = 0.01  # a strong penalty, since embeddings have more channels than cohorts have slides
MAX_ITERATIONS = 1000  # the solver needs some tens under this penalty


def linear_probabilities(
    embeddings: NDArray[np.float64],
    targets: Sequence[Target],
    tested: NDArray[np.float64],
    *,
    inverse_penalty: float = INVERSE_PENALTY,
) -> NDArray[np.float64]:
    """Fit a logistic regression on standardised embeddings, and return the probabilities (m, c) of other slides.

    No random number is drawn.

    Parameters
    ----------
    embeddings
        (n, d) mean embedding of each slide to learn from.
    targets
        Their class indices, every class at least once.
    tested
        (m, d) mean embedding of each other slide.
    inverse_penalty
        C of scikit-learn's LogisticRegression: the smaller, the smaller the weights.
    """
    head = make_pipeline(StandardScaler(), LogisticRegression(C=inverse_penalty, max_iter=MAX_ITERATIONS))
    probabilities: NDArray[np.float64] = head.fit(embeddings, np.array(targets)).predict_proba(tested)
    return probabilities
