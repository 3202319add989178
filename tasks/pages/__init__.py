"""Everything that people open afterwards: one layout and style for HTML pages, their parts, plots, CSV, markdown.

A page is a template beside the code that fills it; it extends `layout.html.jinja` and takes its tables, cards and bars
from `parts.html.jinja`. Texts from hosts, the cluster, files and people are text in all of them.
"""
