"""What stands between raw arrays and a model: rows in parts, rows in batches, categories as numbers."""

from __future__ import annotations

from nnrs.data.batching import Batches, batches
from nnrs.data.onehot import OneHotEncoder, one_hot
from nnrs.data.split import train_test_split

__all__ = ["Batches", "OneHotEncoder", "batches", "one_hot", "train_test_split"]
