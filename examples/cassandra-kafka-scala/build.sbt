name := "inventory"
version := "1.0.0"
scalaVersion := "2.11.12"
