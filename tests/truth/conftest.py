"""The helpers of the differential test explain their failures as tests do."""

from __future__ import annotations

import pytest

pytest.register_assert_rewrite("truth_sides", "truth_programs")
