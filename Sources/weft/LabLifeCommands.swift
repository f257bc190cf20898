import ArgumentParser
import JSON
import Lab
import Syscalls

struct LabUp: ParsableCommand {
  static let configuration = CommandConfiguration(commandName: "up", abstract: "Make a lab.")
  @OptionGroup var options: LabOptions
  @OptionGroup var shape: LabPlanOptions

  @Option(help: "Number of nodes, 1 to 200.")
  var nodes = 3
  @Option(help: "Pods per node, 0 to 100.")
  var pods = 2
  @Option(help: "A CNI configuration list to use in place of flannel's.")
  var conflist: String?
  @Flag(name: .customLong("no-agents"), help: "Only the nodes and the network between them.")
  var noAgents = false

  func run() throws {
    let lab = try options.lab(report: Terminal.report)
    let plan = try shape.plan(nodes: nodes, pods: pods)
    let text = try conflist.map(Self.readConflist)
    Interruption.watch()
    try lab.up(plan, Lab.UpOptions(conflist: text, withAgents: !noAgents))
    if !noAgents { try show(lab.status()) }
  }

  private static func readConflist(_ path: String) throws -> String {
    do {
      return try Files.text(path, limit: 1 << 20)
    } catch {
      throw LabError("--conflist \(path) cannot be read: \(error)", advice: "give a CNI configuration list")
    }
  }
}

struct LabStatusCommand: ParsableCommand {
  static let configuration = CommandConfiguration(commandName: "status", abstract: "Show nodes and pods.")
  @OptionGroup var options: LabOptions
  @Flag(help: "Print JSON.")
  var json = false

  func run() throws {
    let status = try options.lab().status()
    if json { Terminal.out(status.json.text(.pretty)) } else { show(status) }
  }
}

/// Both tables.
private func show(_ status: LabStatus) {
  Terminal.table(status.nodeTable)
  Terminal.out("")
  Terminal.table(status.podTable)
  for node in status.nodes { if let problem = node.problem { Terminal.report("node \(node.name): \(problem)") } }
}

struct LabDown: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "down", abstract: "Remove a lab, or whatever is left of one.")
  @OptionGroup var options: LabOptions

  func run() throws {
    let lab = try options.lab(report: Terminal.report)
    Interruption.watch()
    let removed = try lab.down()
    Terminal.report(removed ? "lab \"\(options.name)\" is removed" : "there is no lab \"\(options.name)\"")
  }
}

struct LabDemo: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "demo",
    abstract:
      "Make three nodes with two pods each, ping everything, reach the internet and a host port, show it, remove it.")

  @Option(help: "The demo's name.")
  var name = "demo"
  @Option(name: .customLong("state-dir"), help: "The directory of all labs' state.")
  var stateDirectory = LabDirectory.defaultRoot
  @Option(name: .customLong("cni-bin"), help: "Directories of CNI plugins, separated by colons, searched first.")
  var cniBin: String?
  @OptionGroup var shape: LabPlanOptions
  @Option(help: "Number of nodes, 1 to 200.")
  var nodes = 3
  @Option(help: "Pods per node, 0 to 100.")
  var pods = 2

  func run() throws {
    let palette = Terminal.palette
    var options = LabOptions()
    options.name = name
    options.stateDirectory = stateDirectory
    options.cniBin = cniBin
    let lab = try options.lab { Terminal.out(palette.dim("==> ") + $0) }
    let plan = try shape.plan(nodes: nodes, pods: pods)
    Interruption.watch()
    try lab.demo(plan, palette, print: Terminal.out)
  }
}
