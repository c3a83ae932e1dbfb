"""Databases that the C# libraries NEventStore and JOliver EventStore wrote. See docs/neventstore.md."""
