"""Everything that is drawn for people: tables, pictures, pages."""
