"""Breaks of settings, pages, ledger and packaging."""

from __future__ import annotations

from tests.mutations.breaks.row import Break

_SETTINGS = "tests/unit/test_settings.py"
_PAGES = "tests/unit/pages/test_pages.py"
_TEMPLATES = "tests/unit/pages/test_templates.py"
_SPREADSHEET = "tests/unit/pages/test_spreadsheet.py"

BREAKS = (
    Break(
        "a parameter names any file of the worker",
        "tasks/settings.py",
        "if path == own or any(path.is_relative_to(Path(folder).resolve()) for folder in folders):",
        "if path or own or folders:",
        f"{_SETTINGS}::test_a_file_that_a_parameter_may_not_name",
    ),
    Break(
        "a link leads out of an allowed folder",
        "tasks/settings.py",
        "path, own = Path(given).resolve(), fleet_path().resolve()",
        "path, own = Path(given).absolute(), fleet_path().resolve()",
        f"{_SETTINGS}::test_a_file_that_a_parameter_may_not_name",
    ),
    Break(
        "the state folder of an older version stays open to everyone",
        "tasks/settings.py",
        "found.st_uid == os.geteuid() and found.st_mode & 0o077",
        "found.st_uid == os.geteuid() and found.st_mode & 0o007 == 0o077",
        f"{_SETTINGS}::test_a_state_folder_of_an_older_version_is_closed",
    ),
    Break(
        "a page shows a host's text as markup",
        "tasks/pages/templates.py",
        "autoescape=True,",
        "autoescape=False,",
        f"{_PAGES}::test_what_others_have_written_is_text",
    ),
    Break(
        "a page has controls and text that turns around",
        "tasks/pages/templates.py",
        "return visible(_environment(template.parent).get_template(template.name).render(values)) + ",
        "return _environment(template.parent).get_template(template.name).render(values) + ",
        f"{_PAGES}::test_what_others_have_written_is_text",
    ),
    Break(
        "a page is as long as a host's text",
        "tasks/pages/templates.py",
        "finalize=_shortened,",
        "finalize=None,",
        f"{_PAGES}::test_a_huge_text_is_cut_and_says_how_long_it_is",
    ),
    Break(
        "a sentence on a page is as long as a host's text",
        "tasks/pages/templates.py",
        "commands(str(_shortened(text)))",
        "commands(text)",
        f"{_PAGES}::test_a_huge_text_is_cut_and_says_how_long_it_is",
    ),
    Break(
        "a page may load and run what an attacker brings in",
        "tasks/pages/layout.html.jinja",
        "default-src 'none'; style-src",
        "style-src",
        f"{_PAGES}::test_nothing_comes_from_elsewhere",
    ),
    Break(
        "a text leaves the attribute that it stands in",
        "tasks/pages/parts.html.jinja",
        '<article class="{{ it.status.tone }}">',
        "<article class={{ it.status.tone }}>",
        f"{_TEMPLATES}::test_no_template_makes_markup_of_a_text",
    ),
    Break(
        "a table is cut and does not say so",
        "tasks/pages/parts.html.jinja",
        "{% if there_are > shown %}",
        "{% if false %}",
        "tests/unit/audit/test_page.py",
    ),
    Break(
        "a label of a plot is mathematics",
        "tasks/pages/plots.py",
        '"text.parse_math": False',
        '"text.parse_math": True',
        "tests/unit/pages/test_plots.py",
    ),
    Break(
        "a spreadsheet calculates what a host has written",
        "tasks/pages/spreadsheet.py",
        "{column: _no_formula(value) for column, value in row.items()}",
        "{column: value for column, value in row.items()}",
        _SPREADSHEET,
    ),
    Break(
        "a spreadsheet that splits at semicolons calculates what stands behind one",
        "tasks/pages/spreadsheet.py",
        "for part in _SEPARATOR.split(value))",
        "for part in [value])",
        _SPREADSHEET,
    ),
    Break(
        "a company installs the practice world",
        "pyproject.toml",
        'exclude = ["poolkeeper.deployments.lab*"]',
        "exclude = []",
        "tests/contract/test_wheel.py::test_the_practice_world_is_not_in_it",
    ),
    Break(
        "an installed package has no templates",
        "pyproject.toml",
        ', "*.jinja"',
        "",
        f"{_TEMPLATES}::test_every_template_is_in_the_wheel",
    ),
    Break(
        "everyone may read what runs have written",
        "tasks/ledger/files.py",
        "return os.open(path, flags, 0o600)",
        "return os.open(path, flags, 0o644)",
        f"{_SETTINGS}::test_what_is_made_is_for_its_owner_alone",
    ),
)
