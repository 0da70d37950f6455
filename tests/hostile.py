"""Text as an attacker would write it: into HTML, into Markdown, into a template, and too long."""

HOSTILE = (
    "</div></details><script>alert(1)</script><img src=x onerror=alert(1)> ` `` ``` ](javascript:alert(1)) [a](javascript:alert(1)) "
    "![b](https://evil.example/p.png) <https://evil.example> https://evil.example/x www.evil.example me@evil.example "
    "| a | b |\n\n# Heading\n"
    "<a href='javascript:alert(1)'>c</a>\n\n    code\n> quote\n{{ ti.xcom_pull() }} {% raw %} \u202egnp.exe \x00 \\`"
)
