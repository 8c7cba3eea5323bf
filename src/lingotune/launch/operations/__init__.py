"""Operations on jobs that were started: status, logs, stop, fetch, wait."""
