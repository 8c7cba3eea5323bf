"""The rehearsal: `action=rehearse`."""
