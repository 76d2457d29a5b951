"""Encoded videos: taking, reshaping, moving and joining keep every tensor with its video."""

import pytest
import torch

from fsar_cli.core.method import Encoded


def make_bank() -> Encoded:
    return Encoded({"frames": torch.arange(30.0).view(5, 2, 3), "saturated": torch.arange(10).view(5, 2) % 3 == 0})


@pytest.mark.parametrize("lead", [(), (4,), (2, 3), (2, 3, 2)])
def test_take_puts_the_axes_of_the_index_in_place_of_the_videos(lead: tuple[int, ...]) -> None:
    bank, index = make_bank(), torch.randint(5, lead, generator=torch.Generator().manual_seed(0))
    taken = bank.take(index)
    assert taken.shape == lead
    for name in ("frames", "saturated"):
        assert torch.equal(taken[name], bank[name][index])


def test_reshape_changes_the_leading_axes_alone() -> None:
    taken = make_bank().take(torch.tensor([[0, 1, 2], [2, 3, 4]])).reshape(3, 2)
    assert taken.shape == (3, 2) and taken["frames"].shape == (3, 2, 2, 3)
    assert torch.equal(taken["frames"][1, 0], make_bank()["frames"][2])


def test_cat_joins_videos_and_only_keeps_the_named() -> None:
    bank = make_bank()
    joined = Encoded.cat([bank, bank.take(torch.tensor([3]))])
    assert len(joined) == 6
    assert torch.equal(joined["frames"][5], bank["frames"][3])
    kept = joined.only(["frames"])
    assert "frames" in kept and "saturated" not in kept


def test_to_another_precision_leaves_flags_alone() -> None:
    half = make_bank().to(dtype=torch.float16)
    assert half["frames"].dtype == torch.float16 and half["saturated"].dtype == torch.bool


def test_numel_per_video_counts_one_video() -> None:
    assert make_bank().numel_per_video() == 2 * 3 + 2
    assert make_bank().take(torch.zeros(4, 2, dtype=torch.int64)).numel_per_video() == 2 * 3 + 2


def test_tensors_of_different_numbers_of_videos_are_refused() -> None:
    with pytest.raises(ValueError, match=r"must share their first 1 axes.*\(5, 2\).*\(4, 2\)"):
        Encoded({"a": torch.zeros(5, 2), "b": torch.zeros(4, 2)})


@pytest.mark.parametrize("odd", [float("nan"), float("inf")])
def test_one_number_that_is_none_makes_it_not_finite(odd: float) -> None:
    bank = make_bank()
    assert bank.finite
    bank["frames"][4, 1, 2] = odd
    assert not bank.finite
