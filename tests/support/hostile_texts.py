"""Texts that would act if a page took them for markup."""

from __future__ import annotations

PAYLOADS = [
    "<script>alert(1)</script>",
    "</script><script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "<svg/onload=alert(1)>",
    '"><script>alert(1)</script>',
    "'><img src=x onerror=alert(1)>",
    '" autofocus onfocus=alert(1) x="',
    "' onmouseover='alert(1)",
    "</textarea><script>alert(1)</script>",
    "</title><script>alert(1)</script>",
    "<!--<img src=x onerror=alert(1)>-->",
    "javascript:alert(1)",
    "<a href=javascript:alert(1)>x</a>",
    "{{ 7 * 7 }}{% raw %}",
    "${7*7}",
    "&lt;script&gt;alert(1)&lt;/script&gt;",
    "<b hx-get=/sign-out hx-trigger=load>",
    "<form action=//evil.example>",
    "\u202e\u2066<i>",
    "<style>*{display:none}</style>",
    "<hx-partial hx-target=body><b>x</b></hx-partial>",
]
