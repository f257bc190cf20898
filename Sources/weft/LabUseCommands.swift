import ArgumentParser
import JSON
import Lab
import NetTypes

struct LabPod: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "pod", abstract: "Add and remove pods.", subcommands: [Add.self, Remove.self])

  struct Add: ParsableCommand {
    static let configuration = CommandConfiguration(
      commandName: "add", abstract: "Add a pod to a node.",
      discussion: """
        Prints its name and addresses. A host port leads from every address of the node to the pod; the node's CNI \
        configuration list needs the plugin portmap for it. `weft lab reach` tries host ports out.

        EXAMPLE
          weft lab pod add n1 web --port 8080:80 --port 5353:53/udp
        """)
    @OptionGroup var options: LabOptions
    @Option(
      name: .customLong("port"),
      help: ArgumentHelp(
        "A port of the node that leads to the pod; may be repeated.", valueName: "host:container[/proto]"))
    var ports: [String] = []
    @Argument(help: "The node, as n1.")
    var node: String
    @Argument(help: "The pod's name on the node; the first free one of p1, p2, … when left out.")
    var pod: String?

    func run() throws {
      let ports = try ports.map { try HostPort($0) }
      Interruption.watch()
      let status = try options.lab(report: Terminal.report).podAdd(node: node, name: pod, ports: ports)
      Terminal.out(([status.pod.description] + status.addresses.map(\.address.description)).joined(separator: " "))
    }
  }

  struct Remove: ParsableCommand {
    static let configuration = CommandConfiguration(commandName: "rm", abstract: "Remove a pod.")
    @OptionGroup var options: LabOptions
    @Argument(help: "The pod, as n1-p1.")
    var pod: String

    func run() throws {
      let pod = try options.lab(report: Terminal.report).podRemove(pod)
      Terminal.report("pod \(pod) is removed")
    }
  }
}

struct LabNode: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "node", abstract: "Start, stop or kill a node's agent.",
    subcommands: [Start.self, Stop.self, Kill.self])

  struct Start: ParsableCommand {
    static let configuration = CommandConfiguration(commandName: "start", abstract: "Start a node's agent.")
    @OptionGroup var options: LabOptions
    @Argument(help: "The node, as n1.")
    var node: String
    func run() throws { try act(options, node, .start) }
  }

  struct Stop: ParsableCommand {
    static let configuration = CommandConfiguration(
      commandName: "stop", abstract: "Stop a node's agent (SIGTERM). Its network stays as it is.")
    @OptionGroup var options: LabOptions
    @Argument(help: "The node, as n1.")
    var node: String
    func run() throws { try act(options, node, .stop) }
  }

  struct Kill: ParsableCommand {
    static let configuration = CommandConfiguration(
      commandName: "kill", abstract: "Kill a node's agent (SIGKILL). Its network stays as it is.")
    @OptionGroup var options: LabOptions
    @Argument(help: "The node, as n1.")
    var node: String
    func run() throws { try act(options, node, .kill) }
  }
}

private func act(_ options: LabOptions, _ node: String, _ action: Lab.NodeAction) throws {
  Interruption.watch()
  Terminal.report(try options.lab(report: Terminal.report).node(node, action))
}

struct LabPing: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "ping", abstract: "Ping every pod from every pod.",
    discussion: "Exit status 1 when a packet is lost; the first broken link on its way is named then.")
  @OptionGroup var options: LabOptions
  @Option(help: "Packets per pair.")
  var count = 3
  @Option(help: "Milliseconds between two packets of a pair.")
  var interval = 100
  @Option(help: "Milliseconds to wait for the last answers.")
  var timeout = 1000
  @Flag(help: "Print JSON.")
  var json = false

  func run() throws {
    let ping = try PingOptions(count: count, interval: interval, timeout: timeout)
    Interruption.watch()
    let report = try options.lab().ping(ping)
    if json {
      Terminal.out(report.json.text(.pretty))
    } else {
      show(report)
    }
    if !report.isComplete { throw ExitCode.failure }
  }

  /// The matrices when they fit a terminal, and what went wrong.
  private func show(_ report: PingReport) {
    let palette = Terminal.palette
    for family in AddressFamily.allCases {
      guard let matrix = report.matrix(family), matrix.rows.count <= 16 else { continue }
      Terminal.out(palette.bold("\(family == .ipv4 ? "IPv4" : "IPv6"), round trip median/max in milliseconds"))
      for line in matrix.lines(paint: { Lab.paint(palette, $0, $1, $2) }) { Terminal.out(line) }
      Terminal.out("")
    }
    Terminal.out(report.summary)
    for failure in report.failures { Terminal.out(palette.bad("lost: ") + failure) }
  }
}

struct LabReach: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "reach", abstract: "Connect from every pod to the internet, and from there to every host port.",
    discussion: """
      The internet is a namespace outside of the cluster that knows the nodes, but no way to the pods: it sees and \
      answers a pod only under its node's address. The servers are the lab's own and end with the command; where a \
      program in a pod has the port already, a TCP connection to it is enough.

      Exit status 1 when something does not work; what is broken, or which rule is missing, is named then.
      """)
  @OptionGroup var options: LabOptions
  @Argument(help: "The only pod to look at, as n1-p1.")
  var pod: String?
  @Option(help: "Milliseconds to wait for answers.")
  var timeout = 3000
  @Flag(help: "Print JSON.")
  var json = false

  func run() throws {
    Interruption.watch()
    let report = try options.lab().reach(pod, timeout: timeout)
    if json {
      Terminal.out(report.json.text(.pretty))
    } else {
      show(report)
    }
    if !report.isComplete { throw ExitCode.failure }
  }

  private func show(_ report: ReachReport) {
    let palette = Terminal.palette
    Terminal.out(palette.bold("From pods to the internet"))
    for line in report.outwardTable.lines(paint: { Lab.paintReach(palette, $0, $1, $2) }) { Terminal.out(line) }
    if let table = report.hostPortTable {
      Terminal.out("")
      Terminal.out(palette.bold("From the internet to host ports"))
      for line in table.lines(paint: { Lab.paintReach(palette, $0, $1, $2) }) { Terminal.out(line) }
    }
    for failure in report.failures { Terminal.out(palette.bad("failed: ") + failure) }
  }
}

struct LabExec: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "exec", abstract: "Run a command on a node, in a pod or in the internet.",
    usage: "weft lab exec [--name NAME] NODE|POD|internet -- CMD…")
  @OptionGroup var options: LabOptions
  @Argument(help: "The node or pod, as n1 or n1-p1, or internet.")
  var place: String
  @Argument(parsing: .postTerminator, help: "The command and its arguments, after --.")
  var command: [String] = []

  func validate() throws {
    guard !command.isEmpty else {
      throw ValidationError("no command given: write it after --, as in `weft lab exec NODE|POD|internet -- CMD…`")
    }
  }

  func run() throws {
    try Lab.requireRoot()
    let lab = try options.lab()
    let place = try lab.place(place)
    try lab.enter(place)
    try Enter.run(command)
  }
}

/// How the lab runs programs on its nodes.
struct LabEnter: ParsableCommand {
  static let configuration = CommandConfiguration(commandName: "enter", shouldDisplay: false)
  @OptionGroup var options: LabOptions
  @Option var node: String
  @Option(name: .customLong("pid-file")) var pidFile: String?
  @Argument(parsing: .postTerminator) var command: [String] = []

  func run() throws {
    try Lab.requireRoot()
    try options.lab().runOnNode(node, pidFile: pidFile, command)
  }
}
