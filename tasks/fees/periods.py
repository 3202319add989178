"""The provider's calendar, and the periods of a bill.

ACK aligns hours to the top of the hour and days to midnight in UTC+8, whatever the cluster's region
(https://www.alibabacloud.com/help/en/ack/ack-managed-and-ack-dedicated/product-overview/cluster-management-fee).
UTC+8 has no daylight saving time. So each hour and each day is a **slot** of constant length with a number.

An instant is an integer: microseconds since 1970-01-01T00:00Z. Millions of them are compared in a year's bill.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, timezone

from poolkeeper.tasks.outcomes import Invalid

BILLING_ZONE = timezone(timedelta(hours=8), "UTC+8")
_OFFSET_US = 8 * 3_600_000_000

HOUR_US = 3_600_000_000
DAY_US = 24 * HOUR_US

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_EPOCH_DAY = date(1970, 1, 1)
_MICROSECOND = timedelta(microseconds=1)


def instant(moment: datetime) -> int:
    """An aware datetime as an instant."""
    return (moment - _EPOCH) // _MICROSECOND


def moment(instant_us: int) -> datetime:
    """An instant as a datetime in UTC."""
    return _EPOCH + timedelta(microseconds=instant_us)


def slot_of(instant_us: int, length_us: int) -> int:
    """The number of the hour or day, in UTC+8, that an instant lies in."""
    return (instant_us + _OFFSET_US) // length_us


def slot_start(slot: int, length_us: int) -> int:
    """The instant at which an hour or day begins."""
    return slot * length_us - _OFFSET_US


def day_start(day: date) -> int:
    """The instant at which a calendar day begins in UTC+8."""
    return (day - _EPOCH_DAY).days * DAY_US - _OFFSET_US


def billing_day(instant_us: int) -> date:
    """The calendar day in UTC+8 that an instant lies in."""
    return _EPOCH_DAY + timedelta(days=slot_of(instant_us, DAY_US))


class PeriodInvalid(Invalid):
    """A text that is not a period."""

    id = "fees.period.invalid"
    expected = "a month like 2026-10, a day like 2026-10-05, or a year like 2026"
    next_step = "Write a month like 2026-10, a day like 2026-10-05, or a year like 2026."


@dataclass(frozen=True, slots=True, order=True)
class Period:
    """Whole calendar days in UTC+8: a month, a year or a day. Only a month can be closed."""

    first: date
    after: date
    """The day after the last one."""

    @property
    def start_us(self) -> int:
        """The first instant."""
        return day_start(self.first)

    @property
    def end_us(self) -> int:
        """The instant after the last one."""
        return day_start(self.after)

    @property
    def is_month(self) -> bool:
        """Whether it is one calendar month. Only months are billed and closed."""
        return self.first.day == 1 and self.after == _months_on(self.first, 1)

    @property
    def name(self) -> str:
        """`2026`, `2026-10` or `2026-10-05`; else `2026-10-05..2026-10-09`, its first and last day."""
        if self.is_month:
            return f"{self.first:%Y-%m}"
        if self.first.timetuple()[1:3] == (1, 1) and self.after == self.first.replace(year=self.first.year + 1):
            return f"{self.first:%Y}"
        last = self.after - timedelta(days=1)
        return str(self.first) if last == self.first else f"{self.first}..{last}"

    def next_month(self) -> Period:
        """The month that follows a month."""
        return Period(self.after, _months_on(self.after, 1))

    def previous_month(self) -> Period:
        """The month before a month."""
        last = self.first - timedelta(days=1)
        return Period.month(last.year, last.month)

    @classmethod
    def month(cls, year: int, month: int) -> Period:
        """One calendar month."""
        first = date(year, month, 1)
        return cls(first, _months_on(first, 1))

    @classmethod
    def of(cls, text: str) -> Period:
        """The period with this name. Raises PeriodInvalid."""
        found = re.fullmatch(r"(\d{4})(?:-(\d{2})(?:-(\d{2}))?)?", text.strip())
        if not found:
            raise PeriodInvalid(f"{text[:40]!r} is not a period")
        year, month, day = (int(part) if part else None for part in found.groups())
        assert year is not None
        try:
            if month is None:
                return cls(date(year, 1, 1), date(year + 1, 1, 1))
            if day is None:
                return cls.month(year, month)
            return cls(date(year, month, day), date(year, month, day) + timedelta(days=1))
        except (ValueError, OverflowError):
            raise PeriodInvalid(f"{text.strip()} is not in the calendar") from None


def _months_on(first: date, months: int) -> date:
    years, month = divmod(first.month - 1 + months, 12)
    return first.replace(year=first.year + years, month=month + 1)
