"""How training stands, in words: for the bar while an epoch runs, and for the line after it."""

from __future__ import annotations

import time
from collections.abc import Mapping


class Standing:
    """Loss, mean IU, speed and time left of a run, from what it is told. Times count from its making."""

    def __init__(self, epochs: int, steps: int, batch_size: int, first_step: int, mean_iu: float | None) -> None:
        """`steps`: of an epoch; `first_step`: of the run, where this process begins; `mean_iu`: the last on val."""
        self._epochs, self._steps, self._batch_size, self._first_step = epochs, steps, batch_size, first_step
        self._started, self._step, self._loss, self._mean_iu = time.monotonic(), first_step, 0.0, mean_iu

    def learned(self, step: int, loss: float) -> None:
        """Step 0.. of the run is done; `loss`: the mean of the epoch's last few."""
        self._step, self._loss = step + 1, loss

    def now(self) -> str:
        """For the bar."""
        epoch = min(self._step // self._steps + 1, self._epochs)
        return self._line(epoch, f"loss {self._loss:.3f}" if self._step > self._first_step else "", self._mean_iu)

    def after(self, epoch: int, metrics: Mapping[str, float]) -> str:
        """The line after epoch 1..epochs with what was measured in it."""
        self._mean_iu = metrics.get("val/miou", self._mean_iu)
        return self._line(epoch, f"loss {metrics['train/loss']:.3f}", metrics.get("val/miou"))

    def _line(self, epoch: int, loss: str, mean_iu: float | None) -> str:
        said = [loss] if loss else []
        said += [] if mean_iu is None else [f"val mIoU {mean_iu:.3f}"]
        done, elapsed_s = self._step - self._first_step, time.monotonic() - self._started
        if done and elapsed_s > 0:
            left_s = (self._epochs * self._steps - self._step) * elapsed_s / done
            minutes, seconds = divmod(round(left_s), 60)
            said.append(f"{done * self._batch_size / elapsed_s:.0f} images/s")
            said.append(f"{minutes} min {seconds:02} s left")
        return f"epoch {epoch}/{self._epochs}: {', '.join(said)}"
