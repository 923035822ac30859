"""Every backend of the registry passes the one contract."""

from __future__ import annotations

import pytest
from backend_contract import BackendContract, ClusterContract
from codes_contract import ClusteredSearchContract, CodesContract

from m2m_rag.compute import BACKENDS, get_backend
from m2m_rag.errors import InvalidInputError


class TestNumpy(BackendContract):
    @pytest.fixture
    def backend(self):
        return get_backend("numpy")


class TestNumba(BackendContract):
    @pytest.fixture
    def backend(self):
        return get_backend("numba")


class TestNumpyClusters(ClusterContract):
    @pytest.fixture
    def backend(self):
        return get_backend("numpy")


class TestNumbaClusters(ClusterContract):
    @pytest.fixture
    def backend(self):
        return get_backend("numba")


class TestNumpyCodes(CodesContract):
    @pytest.fixture
    def backend(self):
        return get_backend("numpy")


class TestNumpySearches(ClusteredSearchContract):
    @pytest.fixture
    def backend(self):
        return get_backend("numpy")


class TestNumbaCodes(CodesContract):
    @pytest.fixture
    def backend(self):
        return get_backend("numba")


class TestNumbaSearches(ClusteredSearchContract):
    @pytest.fixture
    def backend(self):
        return get_backend("numba")


def test_every_backend_has_its_contract_test():
    tested = {name for name in globals() if name.startswith("Test")}
    contracts = ("", "Clusters", "Codes", "Searches")
    assert tested == {
        f"Test{name.title()}{contract}" for name in BACKENDS for contract in contracts
    }


def test_auto_names_what_it_chose():
    assert get_backend("auto").name == "numba"


def test_an_unknown_backend_is_refused_by_name():
    with pytest.raises(InvalidInputError, match="'vulkan'.*Available: auto, numpy, numba"):
        get_backend("vulkan")
