package main

func writeReport(results, docs string) error { return nil }
