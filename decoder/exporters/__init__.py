"""Sessions for other programs: one module per format, each with `export(cut, out) -> Exported` (docs/export.md)."""
