"""A schedule in plain words: `every weekday at 07:00 Europe/Berlin`. For people; nothing decides by it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from server.schedules.recurrence import Plan
from server.schedules.rule_parts import parts

DAYS = {
    "MO": "Monday",
    "TU": "Tuesday",
    "WE": "Wednesday",
    "TH": "Thursday",
    "FR": "Friday",
    "SA": "Saturday",
    "SU": "Sunday",
}
MONTHS = (
    *("January", "February", "March", "April", "May", "June", "July"),
    *("August", "September", "October", "November", "December"),
)
WEEKDAYS = {"MO", "TU", "WE", "TH", "FR"}
ORDINALS = {"1": "first", "2": "second", "3": "third", "4": "fourth", "5": "fifth", "-1": "last"}
UNITS = {"YEARLY": "year", "MONTHLY": "month", "WEEKLY": "week", "DAILY": "day", "HOURLY": "hour"}
MOST_TIMES = 6
MOST_SKIPS = 4


def describe(plan: Plan) -> str:
    """Raises `BadRule` for a rule that is none."""
    if plan.rule is None:
        return f"once, on {_day(plan.start)} at {plan.start:%H:%M} {plan.zone}"
    found = parts(plan.rule)
    words = _often(found, plan.start)
    if words is None:
        return f"by the rule {';'.join(f'{name}={value}' for name, value in found.items())}, {plan.zone} time"
    text = f"{words} {_times(found, plan.start)} {plan.zone}{_end(found)}"
    if plan.skips:
        text += f", except {_skipped(plan.skips)}"
    return text


def listed(words: Sequence[str]) -> str:
    """`a, b and c`."""
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


def _skipped(skips: Sequence[str]) -> str:
    """A day, or a day and a time; of many only how many there are."""
    if len(skips) > MOST_SKIPS:
        return f"{len(skips)} runs that are left out"
    moments = [(datetime.fromisoformat(skip), "T" in skip) for skip in skips]
    return listed([f"{_day(moment)}{f' at {moment:%H:%M}' if timed else ''}" for moment, timed in moments])


def _day(moment: datetime) -> str:
    return f"{list(DAYS.values())[moment.weekday()]} {moment.day} {MONTHS[moment.month - 1]} {moment.year}"


def _often(found: dict[str, str], start: datetime) -> str | None:
    """How often and on which days; None for a rule too unusual to put into words."""
    if found.keys() & {"BYWEEKNO", "BYYEARDAY"} or ("BYSETPOS" in found and not _last_weekday(found)):
        return None
    interval = found.get("INTERVAL", "1")
    unit = UNITS[found["FREQ"]]
    every = f"every {unit}" if interval == "1" else f"every {interval} {unit}s"
    try:
        on = _on(found, start)
        months = (
            listed([MONTHS[int(month) - 1] for month in found["BYMONTH"].split(",")])
            if "BYMONTH" in found
            else ""
        )
    except (KeyError, ValueError, IndexError):  # what only the rule's author understands
        return None
    if on is None:
        return None
    if found["FREQ"] == "YEARLY":
        return f"{every} on {on}"
    if interval == "1" and found["FREQ"] in {"DAILY", "WEEKLY"} and on:
        every, on = f"every {on}", ""
    return f"{every}{f' on {on}' if on else ''}{f' in {months}' if months else ''}"


def _on(found: dict[str, str], start: datetime) -> str | None:
    """The days of a rule, empty where each day is meant."""
    days = found.get("BYDAY", "").split(",") if "BYDAY" in found else []
    dates = found.get("BYMONTHDAY", "").split(",") if "BYMONTHDAY" in found else []
    if days and dates:
        return None
    match found["FREQ"]:
        case "HOURLY" | "DAILY":
            return None if dates else _names(days)
        case "WEEKLY":
            return None if dates else _names(days or [list(DAYS)[start.weekday()]])
        case "MONTHLY":
            if _last_weekday(found):
                return "the last weekday"
            return _ordinals(days) if days else _dates(dates or [str(start.day)])
        case _:
            if days or (dates and "BYMONTH" not in found) or any(int(day) < 1 for day in dates):
                return None
            months = found.get("BYMONTH", str(start.month)).split(",")
            numbers = dates or [str(start.day)]
            return listed([f"{int(day)} {MONTHS[int(month) - 1]}" for month in months for day in numbers])


def _last_weekday(found: dict[str, str]) -> bool:
    days = set(found.get("BYDAY", "").split(","))
    return found["FREQ"] == "MONTHLY" and days == WEEKDAYS and found.get("BYSETPOS") == "-1"


def _names(days: Sequence[str]) -> str:
    """Raises `KeyError` for a day with a number, which means something else."""
    names = [DAYS[day] for day in sorted(set(days), key=list(DAYS).index)]
    if set(days) == WEEKDAYS:
        return "weekday"
    return "" if len(names) in {0, len(DAYS)} else listed(names)


def _ordinals(days: Sequence[str]) -> str:
    """`the first Monday`, `every Monday` of a month."""
    return listed(
        [
            f"the {ORDINALS[day[:-2].lstrip('+')]} {DAYS[day[-2:]]}" if day[:-2] else f"each {DAYS[day]}"
            for day in days
        ]
    )


def _dates(dates: Sequence[str]) -> str | None:
    if any(int(day) < -1 for day in dates):
        return None
    return listed(["the last day" if day == "-1" else f"day {int(day)}" for day in dates])


def _times(found: dict[str, str], start: datetime) -> str:
    minutes = [int(minute) for minute in found.get("BYMINUTE", str(start.minute)).split(",")]
    if found["FREQ"] == "HOURLY" and "BYHOUR" not in found:
        return f"at {listed([f':{minute:02d}' for minute in sorted(minutes)])}"
    hours = [int(hour) for hour in found.get("BYHOUR", str(start.hour)).split(",")]
    times = [f"{hour:02d}:{minute:02d}" for hour in sorted(hours) for minute in sorted(minutes)]
    if len(times) > MOST_TIMES:
        return f"at {len(times)} times between {times[0]} and {times[-1]}"
    return f"at {listed(times)}"


def _end(found: dict[str, str]) -> str:
    if "COUNT" in found:
        return ", once" if found["COUNT"] == "1" else f", {int(found['COUNT'])} times"
    if "UNTIL" in found:
        until = found["UNTIL"]
        return f", until {int(until[6:8])} {MONTHS[int(until[4:6]) - 1]} {int(until[:4])}"
    return ""
