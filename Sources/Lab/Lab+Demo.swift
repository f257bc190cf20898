import Glibc
import NetTypes
import Syscalls

extension Lab {
  /// Makes three nodes with two pods each and one with host ports, shows what an operator would look at, and removes
  /// everything, also when a step fails or a signal comes.
  /// - Parameters:
  ///   - print: receives the lines of the report.
  ///   - palette: colours.
  /// - Throws: the step that failed and why. What `ping` lost and `reach` did not reach is a failure, too.
  public func demo(_ plan: LabPlan, _ palette: Palette, print: (String) -> Void) throws {
    let begin = Clock.monotonic()
    try removeEarlierDemo()
    try up(plan, UpOptions(owner: ProcessIdentity(running: getpid())))
    do {
      try show(plan, palette, print)
      try Interruption.check()
    } catch {
      report("removing everything")
      Interruption.forget()
      _ = try? down()
      throw error
    }
    report("removing everything")
    Interruption.forget()
    try down()
    let tenths = (Clock.monotonic() - begin) / 100_000_000
    print("")
    print(
      palette.good("Everything worked, and everything is removed again") + ", after \(tenths / 10).\(tenths % 10) s.")
  }

  /// Removes the lab that a demo left when it was killed, and nobody else's.
  private func removeEarlierDemo() throws {
    guard Files.exists(directory.path) || !directory.namespaces().isEmpty else { return }
    if let owner = ProcessIdentity(file: directory.ownerFile) {
      guard !owner.isRunning else {
        throw LabError("a demo is running already (pid \(owner.pid))", advice: "wait for it, or give another --name")
      }
    } else if Files.exists(directory.planFile) {
      throw LabError("there is a lab \"\(names.lab)\" that is no demo", advice: "give another --name")
    }
    report("removing what an interrupted demo has left")
    try down()
  }

  private func show(_ plan: LabPlan, _ palette: Palette, _ print: (String) -> Void) throws {
    report("pinging every pod from every pod")
    let pings = try ping(PingOptions())
    report("adding a pod with the host ports \(list(Self.demoPorts.map(\.description))) to n1")
    _ = try podAdd(node: LabNames.node(1), name: "web", ports: Self.demoPorts)
    report("connecting to the internet and back")
    let reach = try reach()
    let status = try status()
    func section(_ title: String, _ lines: [String]) {
      print("")
      print(palette.bold(title))
      for line in lines { print("  " + line) }
    }
    section("Nodes", status.nodeTable.lines { r, _, s in r < 0 ? palette.dim(s) : s })
    section("Pods", status.podTable.lines { r, _, s in r < 0 ? palette.dim(s) : s })
    for family in plan.families {
      guard let matrix = pings.matrix(family) else { continue }
      let title = "Ping, \(family == .ipv4 ? "IPv4" : "IPv6"), round trip median/max in milliseconds"
      section(title, matrix.lines { r, c, s in Self.paint(palette, r, c, s) })
    }
    print("  " + pings.summary)
    guard pings.isComplete else {
      throw LabError("not every ping was answered", details: Array(pings.failures.prefix(12)))
    }
    func paint(_ r: Int, _ c: Int, _ s: String) -> String { Self.paintReach(palette, r, c, s) }
    section("From pods to the internet, which knows no way to the pods", reach.outwardTable.lines(paint: paint))
    if let table = reach.hostPortTable { section("From the internet to host ports", table.lines(paint: paint)) }
    guard reach.isComplete else {
      throw LabError("not everything could be reached", details: Array(reach.failures.prefix(12)))
    }
    let first = LabNames.node(1)
    for (title, lines) in try kernelState(of: first) { section(title, lines) }
    for rules in try rules(of: first, plan.families).listings {
      section("Rules of \(first) (\(rules.command))", rules.lines)
    }
    print("")
  }

  /// What the demo's additional pod has.
  private static let demoPorts = [
    HostPort(host: 8080, container: 80, transport: .tcp), HostPort(host: 5353, container: 53, transport: .udp),
  ]

  /// Colours of what `reach` found.
  public static func paintReach(_ palette: Palette, _ row: Int, _ column: Int, _ cell: String) -> String {
    if row < 0 { return palette.dim(cell) }
    switch cell {
    case "no answer", "not masqueraded", "nobody": return palette.bad(cell)
    case "masqueraded": return palette.good(cell)
    default: return cell
    }
  }

  /// Colours of the ping matrix.
  public static func paint(_ palette: Palette, _ row: Int, _ column: Int, _ cell: String) -> String {
    if row < 0 || column == 0 || cell == "." { return palette.dim(cell) }
    return cell.hasSuffix("lost") || cell == "unsent" ? palette.bad(cell) : palette.good(cell)
  }

  /// Routes, and FDB and neighbours of the VXLAN devices, as `ip` and `bridge` print them; title and lines.
  public func kernelState(of node: String) throws -> [(String, [String])] {
    let view = try NamespaceView(namespace: names.namespace(node: node))
    var sections: [(String, [String])] = []
    for family in AddressFamily.allCases {
      let routes = view.routes.filter { $0.destination.family == family && !$0.destination.address.isLinkLocalUnicast }
      guard !routes.isEmpty else { continue }
      let sorted = routes.sorted { $0.destination < $1.destination }
      let command = family == .ipv4 ? "ip route" : "ip -6 route"
      sections.append(("Routes of \(node) (\(command))", sorted.map { IPText.route($0, in: view) }))
    }
    for link in view.links {
      guard case .vxlan = link.kind else { continue }
      let fdb = view.fdb.filter { $0.device == link.index }.map(IPText.fdb).sorted()
      sections.append(("Forwarding database of \(node) (bridge fdb show dev \(link.name))", fdb))
      let neighbours = view.neighbours.filter { $0.device == link.index && $0.isPermanent }
      let lines = neighbours.sorted { $0.address < $1.address }.map(IPText.neighbour)
      sections.append(("Neighbours of \(node) (ip neigh show dev \(link.name))", lines))
    }
    return sections
  }
}
