"""Rows and digests of a dump's stream, whatever its pieces and whatever stands in its literals."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orquestrador.mysql.dump_scanner import CodeFilter, DumpScanner

END = b"-- Dump completed on 2026-01-02  3:04:05\n"


def scan(data: bytes, size: int = 1 << 18) -> DumpScanner:
    scanner = DumpScanner()
    for start in range(0, len(data), size):
        scanner.feed(data[start : start + size])
    return scanner


def rows(data: bytes, size: int = 1 << 18) -> dict[str, int]:
    return {name: table["rows"] for name, table in scan(data, size).tables().items()}


CASES = {
    "one row": (b"INSERT INTO `t` VALUES (1,'a');\n", {"t": 1}),
    "MariaDB's line per row": (b"INSERT INTO `t` VALUES\n(1,'a'),\n(2,'b');\n", {"t": 2}),
    "columns named": (b"INSERT INTO `t` (`a`, `b(`) VALUES (1,'a'),(2,'b');\n", {"t": 2}),
    "MariaDB's columns": (b"INSERT INTO `t` (`a`,`b`) VALUES\n(1,'a'),\n(2,'b');\n", {"t": 2}),
    "parentheses in a literal": (rb"INSERT INTO `t` VALUES (1,'),('),(2,'((');" + b"\n", {"t": 2}),
    "a literal that is a row": (rb"INSERT INTO `t` VALUES (1,'(\'a\'),(\'b\')');" + b"\n", {"t": 1}),
    "escaped quotes": (rb"INSERT INTO `t` VALUES (1,'it\'s ),('),(2,'\\'),(3,'\\\'),(');" + b"\n", {"t": 3}),
    "an escape before the closing quote": (rb"INSERT INTO `t` VALUES ('x\n','('),('\0','(');" + b"\n", {"t": 2}),
    "doubled quotes": (b"INSERT INTO `t` VALUES ('a''),(''b'),('');\n", {"t": 2}),
    "rows that end with a time": (b"INSERT INTO `t` VALUES (1,'2026'),(2,'2027'),(3,'),(');\n", {"t": 3}),
    "rows that begin with a word": (b"INSERT INTO `t` VALUES ('a',1),('b',2),('x),(y',3);\n", {"t": 3}),
    "a literal that begins as the next row does": (b"INSERT INTO `t` VALUES (1,'),(2'),(3,'x');\n", {"t": 2}),
    "a literal that ends as a row does": (b"INSERT INTO `t` VALUES ('1),(',2),('3',4);\n", {"t": 2}),
    "an introducer": (b"INSERT INTO `t` VALUES (1,_binary '),(2'),(3,_binary 'x');\n", {"t": 2}),
    "a literal that ends with a backslash": (rb"INSERT INTO `t` VALUES (1,'a\\'),(2,'b\'),(');" + b"\n", {"t": 2}),
    "a literal with commas at its ends": (b"INSERT INTO `t` VALUES (1,',),(,'),(2,','),(3,',');\n", {"t": 3}),
    "numbers at both ends": (b"INSERT INTO `t` VALUES (1,'5),(3',1),(2,'',2);\n", {"t": 2}),
    "empty and full literals": (b"INSERT INTO `t` VALUES ('','(',''),('(','','');\n", {"t": 2}),
    "the end of a statement in a literal": (rb"INSERT INTO `t` VALUES ('a;\n'),('b;');" + b"\n", {"t": 2}),
    "several statements": (b"INSERT INTO `t` VALUES (1);\nINSERT INTO `t` VALUES (2),(3);\n", {"t": 3}),
    "two tables": (b"INSERT INTO `a` VALUES (1);\n--\nINSERT INTO `b` VALUES (2),(3);\n", {"a": 1, "b": 2}),
    "names": ("INSERT INTO `a ``(b` VALUES (1);\nINSERT INTO `ção` VALUES (1);\n".encode(), {"a `(b": 1, "ção": 1}),
    "hex, NULL, numbers": (b"INSERT INTO `t` VALUES (0xDEADBEEF,NULL,-1.5e10,_binary 'x');\n", {"t": 1}),
    "a trigger's body": (
        b"INSERT INTO `t` VALUES (1);\nDELIMITER ;;\nCREATE TRIGGER x BEFORE INSERT ON t FOR EACH ROW BEGIN\n"
        b"INSERT INTO `t` VALUES (NEW.a);\nEND ;;\nDELIMITER ;\nINSERT INTO `u` VALUES (1);\n",
        {"t": 1, "u": 1},
    ),
    "no data": (b"CREATE TABLE `t` (\n  `INSERT INTO` int\n);\n", {}),
}


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("size", [1, 2, 3, 7, 1 << 18])
def test_rows_are_counted_whatever_the_pieces(name: str, size: int) -> None:
    data, expected = CASES[name]
    assert rows(b"-- MySQL dump\n\n" + data + b"\n" + END, size) == expected


@pytest.mark.parametrize(
    ("end", "complete"),
    [
        (END, True),
        (b"-- Dump completed\n", True),
        (b"-- Dump completed on 2026-01-02  3:04:05", True),
        (b"\n-- Dump completed\n\n", True),
        (b"", False),
        (b"-- Dump complet", False),
        (b"x -- Dump completed\n", False),
        (END + b"more\n", False),
        (b"INSERT INTO `t` VALUES ('\n-- Dump completed\n", False),
    ],
)
@pytest.mark.parametrize("size", [1, 5, 1 << 18])
def test_the_last_line_tells_whether_a_dump_is_whole(end: bytes, complete: bool, size: int) -> None:
    assert scan(b"-- MySQL dump\nINSERT INTO `t` VALUES (1);\n" + end, size).complete is complete


def test_digest_is_of_the_tables_statements_alone() -> None:
    first, second = b"INSERT INTO `t` VALUES (1);\n", b"INSERT INTO `t` VALUES (2);\n"
    tables = scan(b"-- a comment\n" + first + second + b"UNLOCK TABLES;\n" + END).tables()
    assert tables["t"]["sha256"] == hashlib.sha256(first + second).hexdigest()


def test_a_table_that_comes_back_is_refused() -> None:
    with pytest.raises(ValueError, match="comes back"):
        rows(b"INSERT INTO `a` VALUES (1);\nINSERT INTO `b` VALUES (1);\nINSERT INTO `a` VALUES (1);\n")


def escaped(text: bytes) -> bytes:
    """What mysql_real_escape_string makes of it."""
    table = {0: b"\\0", 10: b"\\n", 13: b"\\r", 92: b"\\\\", 39: b"\\'", 34: b'\\"', 26: b"\\Z"}
    return b"".join(table.get(byte, bytes([byte])) for byte in text)


# Mostly of what could be mistaken for structure.
literals = st.lists(
    st.sampled_from([b"'", b"\\", b"(", b")", b",", b"),(", b";", b"\n", b"a", b"n", b"\0", b'"', b"\xf0"])
)
values = st.one_of(literals.map(lambda parts: b"'" + escaped(b"".join(parts)) + b"'"), st.sampled_from([b"1", b"NULL"]))
statements = st.lists(st.lists(values, min_size=1, max_size=4), min_size=1, max_size=6)

styles = st.sampled_from([(b" ", b","), (b"\n", b",\n")])  # of MySQL and of MariaDB


@given(tables=st.lists(st.lists(statements, min_size=1, max_size=2), max_size=3), size=st.integers(1, 80), style=styles)
def test_any_data_is_counted_and_hashed_exactly(
    tables: list[list[list[list[bytes]]]], size: int, style: tuple[bytes, bytes]
) -> None:
    data, expected, (after, between) = b"-- MySQL dump\n", {}, style
    for number, table in enumerate(tables):
        own = b""
        for statement in table:
            own += b"INSERT INTO `t%d` VALUES" % number + after
            own += between.join(b"(" + b",".join(row) + b")" for row in statement) + b";\n"
        data += own + b"UNLOCK TABLES;\n"
        expected[f"t{number}"] = {"rows": sum(map(len, table)), "sha256": hashlib.sha256(own).hexdigest()}
    scanner = scan(data + END, size)
    assert scanner.tables() == expected
    assert scanner.complete
    assert scanner.bytes == len(data + END)


@given(st.binary(max_size=400), st.integers(1, 50))
def test_nonsense_never_hangs_nor_counts_as_whole(data: bytes, size: int) -> None:
    try:
        scanner = scan(data, size)
        scanner.tables()
    except ValueError:
        return
    assert not scanner.complete or b"-- Dump completed" in data


RETAINED = b"""-- MySQL dump
DROP TABLE IF EXISTS `t`;
CREATE TABLE `t` (
  `a` int
);
INSERT INTO `t` VALUES (1,'DELIMITER ;;'),(2,'x');
/*!50003 SET sql_mode = '' */ ;
"""
CODE = b"""DELIMITER ;;
/*!50003 CREATE*/ /*!50017 DEFINER=`root`@`localhost`*/ /*!50003 TRIGGER x BEFORE INSERT ON t FOR EACH ROW BEGIN
INSERT INTO `t` VALUES (1);
END */;;
DELIMITER ;
/*!50106 DROP EVENT IF EXISTS `e` */;
/*!50003 DROP FUNCTION IF EXISTS `f` */;
"""
VIEW = b"""/*!50001 CREATE ALGORITHM=UNDEFINED */
/*!50013 %sSQL SECURITY DEFINER */
/*!50001 VIEW `v` AS select 1 AS `1`*/;
"""


@pytest.mark.parametrize("size", [1, 2, 7, 100, 1 << 18])
def test_no_code_and_no_owner_passes_the_filter(size: int) -> None:
    data = RETAINED + CODE + VIEW % b"DEFINER=`gone``s`@`%` " + CODE + END
    expected = RETAINED + VIEW % b" " + END
    code_filter = CodeFilter()
    passed = b"".join(code_filter.feed(data[start : start + size]) for start in range(0, len(data), size))
    assert passed + code_filter.end() == expected


def test_a_line_longer_than_the_buffer_passes_unbuffered() -> None:
    row = b"INSERT INTO `t` VALUES ('" + b"DELIMITER ;;" * 1_000_000 + b"');\n"
    code_filter = CodeFilter()
    passed = [code_filter.feed(row[start : start + (1 << 20)]) for start in range(0, len(row), 1 << 20)]
    assert b"".join(passed) + code_filter.feed(CODE) + code_filter.end() == row
    assert max(map(len, passed)) < 6 * 1024 * 1024


@given(st.binary(max_size=300).filter(lambda data: b"DELIMITER" not in data and b"/*!" not in data), st.integers(1, 50))
def test_anything_else_passes_unchanged(data: bytes, size: int) -> None:
    code_filter = CodeFilter()
    passed = b"".join(code_filter.feed(data[start : start + size]) for start in range(0, len(data), size))
    assert passed + code_filter.end() == data
