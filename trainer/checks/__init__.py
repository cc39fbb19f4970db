"""The contract that every model and every learning policy must keep, as checks to run on one's own.

    check_recommender("my_package.models.Gru", {"dimension": 32})

raises a `CheckError` that says what was expected, what was received and what to do. For a test of each check:

    case = RecommenderCase("my_package.models.Gru")

    @pytest.mark.parametrize("check", recommender_checks(), ids=lambda check: check.__name__)
    def test_it_keeps_the_contract(check):
        check(case)

`check_policy(policy, model)`, `PolicyCase` and `policy_checks` are the same for how a span changes a model. All of it
makes its own data, of a few dozen events, and takes seconds. Nothing of warmspan's own work imports this package.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from trainer.checks import learning_checks, model_checks, score_checks
from trainer.checks import policy_checks as _of_policies
from trainer.checks.expectation import CheckError
from trainer.checks.policy_case import PolicyCase
from trainer.checks.recommender_case import RecommenderCase
from trainer.models.base import Recommender
from trainer.settings import Policy

__all__ = [
    "CheckError",
    "PolicyCase",
    "RecommenderCase",
    "check_policy",
    "check_recommender",
    "policy_checks",
    "recommender_checks",
]


def check_recommender(model: str | type[Recommender], params: Mapping[str, Any] | None = None) -> None:
    """Runs every check of `recommender_checks` on `model`, given as in `model.type`, or as a class, with `params`.

    Raises:
      CheckError: it breaks the contract; the first place where it does.
      ModelError: it can't be built with `params`.
    """
    case = RecommenderCase(model, params or {})
    for check in recommender_checks():
        check(case)


def recommender_checks() -> tuple[Callable[[RecommenderCase], None], ...]:
    """The single checks of a model, in the order of a model's life (see `trainer.models.base`)."""
    return (*model_checks.ALL, *learning_checks.ALL, *score_checks.ALL)


def check_policy(
    policy: Policy, model: str | type[Recommender] = "sasrec", params: Mapping[str, Any] | None = None
) -> None:
    """Runs every check of `policy_checks` on `policy`, by which `model` learns.

    Raises:
      CheckError: it breaks the contract; the first place where it does.
      PolicyError: a part of the policy does not fit the model.
    """
    case = PolicyCase(policy, model, params or {})
    for check in policy_checks():
        check(case)


def policy_checks() -> tuple[Callable[[PolicyCase], None], ...]:
    """The single checks of a policy."""
    return _of_policies.ALL
