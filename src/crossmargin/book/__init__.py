"""Who holds what: accounts as columns, their files, readers and writers."""

from __future__ import annotations

from crossmargin.book._account import (
    ABSURD,
    ACCOUNT_FORMAT,
    AccountFile,
    BalanceEntry,
    Leg,
    OrderEntry,
    OrderLeg,
    PoolEntry,
    PositionEntry,
    Quote,
    QuoteGroup,
    account_schema,
    parse_account,
    read_account,
    to_float,
    write_account,
)
from crossmargin.book._book import LEGS, POOL_MODES, Book, book_from_accounts
from crossmargin.book._compact import CompactBook, NumberedIds, catalogue_of, compact_book
from crossmargin.book._compact_parquet import write_compact_parquet
from crossmargin.book._file_of import account_file
from crossmargin.book._generate import generate_book
from crossmargin.book._location import account_without_location, book_without_location
from crossmargin.book._major import UnderlyingMajor, underlying_major
from crossmargin.book._mapped import write_compact
from crossmargin.book._parquet import read_book_parquet, write_book_parquet
from crossmargin.book._plain import plain_book
from crossmargin.book._read_compact import CompactRead, read_compact
from crossmargin.book._rejected import Rejected
from crossmargin.book._select import join_books, repeat_account, select_accounts
from crossmargin.book._shape import ACCOUNT_KINDS, BookShape

__all__ = [
    "ABSURD",
    "ACCOUNT_FORMAT",
    "ACCOUNT_KINDS",
    "LEGS",
    "POOL_MODES",
    "AccountFile",
    "BalanceEntry",
    "Book",
    "BookShape",
    "CompactBook",
    "CompactRead",
    "Leg",
    "NumberedIds",
    "OrderEntry",
    "OrderLeg",
    "PoolEntry",
    "PositionEntry",
    "Quote",
    "QuoteGroup",
    "Rejected",
    "UnderlyingMajor",
    "account_file",
    "account_schema",
    "account_without_location",
    "book_from_accounts",
    "book_without_location",
    "catalogue_of",
    "compact_book",
    "generate_book",
    "join_books",
    "parse_account",
    "plain_book",
    "read_account",
    "read_book_parquet",
    "read_compact",
    "repeat_account",
    "select_accounts",
    "to_float",
    "underlying_major",
    "write_account",
    "write_book_parquet",
    "write_compact",
    "write_compact_parquet",
]
