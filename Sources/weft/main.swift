import Agent
import ArgumentParser
import Glibc

// One program, two grammars. The agent takes its words in Go's flag grammar, so that it is a drop-in replacement for
// flanneld; everything else is read by the argument parser.
let words = CommandLine.arguments
let called = words.first ?? "weft"
if called.split(separator: "/").last == "flanneld" {
  exit(AgentMain.run(arguments: Array(words.dropFirst()), programName: called))
}
if words.dropFirst().first == "agent" {
  exit(AgentMain.run(arguments: Array(words.dropFirst(2)), programName: "\(called) agent"))
}
WeftCommand.main(Array(words.dropFirst()))
