import pytest
import torch

from methods.cnn_decomposition.patching import calibration_range, patched_scores
from methods.measure.quality import classification_quality

SAMPLE = torch.arange(6, dtype=torch.float64)
WEAK = 2 * torch.sin(SAMPLE[:, None] + 1.5 * torch.arange(3))
MODULE = 5 * torch.cos(1.1 * SAMPLE) + 1
LABELS = torch.tensor([2, 0, 0, 2, 1, 2])


def test_a_patched_network_has_the_values_worked_out() -> None:
    found = calibration_range(2 + 3 * torch.sin(2 * torch.arange(9, dtype=torch.float64)))
    assert found == pytest.approx((-0.270407, 4.971822), abs=5e-7)
    scores = patched_scores(WEAK, MODULE, target=2, calibration=found)
    assert scores[0].tolist() == pytest.approx([0.103325, 0.759657, 1.196134], abs=5e-7)
    assert scores[3].tolist() == pytest.approx([0.650197, 0.069406, -0.699510], abs=5e-7)
    before, after = WEAK.argmax(dim=1), scores.argmax(dim=1)
    assert before.tolist() == [1, 0, 0, 0, 2, 2]
    assert after.tolist() == [2, 2, 0, 0, 1, 2]
    for predicted, expected in ((before, [0.5, 1 / 3, 0.4]), (after, [2 / 3] * 3)):
        quality = classification_quality(predicted, LABELS, class_names=("a", "b", "target")).per_class["target"]
        assert [quality["precision"], quality["recall"], quality["f1"]] == pytest.approx(expected)


def test_the_weak_network_is_left_alone_but_for_the_target() -> None:
    scores = patched_scores(WEAK, MODULE, target=0, calibration=(0.0, 2.0))
    assert torch.equal(scores[:, 1:], torch.softmax(WEAK, dim=1)[:, 1:])
    assert torch.equal(scores[:, 0], MODULE / 2)


def test_what_cannot_be_patched_is_refused() -> None:
    with pytest.raises(ValueError, match="without two different ones"):
        calibration_range(torch.ones(3))
    with pytest.raises(ValueError, match="no class 3; the weak network has 0 to 2"):
        patched_scores(WEAK, MODULE, target=3, calibration=(0.0, 1.0))
    with pytest.raises(ValueError, match="give \\(samples, classes\\) and \\(samples,\\)"):
        patched_scores(WEAK, MODULE[:2], target=0, calibration=(0.0, 1.0))
