"""SQL over tables in memory."""

from collections.abc import Sequence
from typing import Any

import pyarrow as pa


class Database:
    """Answers queries, from any thread. It reads no file: all tables are handed to it."""

    def __init__(self) -> None:
        import duckdb

        self._connection = duckdb.connect(":memory:")
        self._connection.execute("SET enable_external_access = false")
        self._connection.execute("SET lock_configuration = true")

    def table(self, query: str, values: Sequence[Any] = (), **tables: pa.Table) -> pa.Table:
        """The answer to a query, in columns.

        Args:
            query: SQL, with ``?`` for values.
            values: In the order of their marks.
            tables: By the names that the query has for them.
        """
        cursor = self._connection.cursor()
        try:
            for name, table in tables.items():
                cursor.register(name, table)
            found: pa.Table = cursor.sql(query, params=list(values)).to_arrow_table()
            return found
        finally:
            cursor.close()

    def rows(self, query: str, values: Sequence[Any] = (), **tables: pa.Table) -> list[Any]:
        """The answer to a query, as a tuple for each row; as ``table``."""
        found = self.table(query, values, **tables)
        return list(zip(*(column.to_pylist() for column in found.columns), strict=True))
