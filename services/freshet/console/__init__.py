"""The web page: lag, freshness, dead letters and a playground. A caller: imports bootstrap and not the rooms."""
