import Agent
import ArgumentParser
import Glibc
import Installer

// One program, three grammars. The agent takes its words in Go's flag grammar, so that it is a drop-in replacement for
// flanneld, and install-conf takes two words, as in flannel's image; everything else is read by the argument parser.
let words = CommandLine.arguments
let called = words.first ?? "weft"
if called.split(separator: "/").last == "flanneld" {
  exit(AgentMain.run(arguments: Array(words.dropFirst()), programName: called))
}
if InstallConf.isMeant(by: called) {
  exit(InstallConf.main(words, complain: Terminal.report))
}
if words.dropFirst().first == "agent" {
  exit(AgentMain.run(arguments: Array(words.dropFirst(2)), programName: "\(called) agent"))
}
WeftCommand.main(Array(words.dropFirst()))
