"""From records to boards: worst cases, intervals, ranks, comparisons."""
