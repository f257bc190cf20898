import Glibc
import NetTypes
import Netlink
import Syscalls

/// The command line.
struct Options {
  /// Repetitions of each measurement.
  var count = 60
  /// Our multi-call binary.
  var program = "bin/weft-cni"
  /// The plugins to compare with.
  var reference = "/usr/lib/cni"
  /// Reservations of other containers that exist during a measurement.
  var reservations = [0, 100, 1000]
  /// ADDs started at the same moment.
  var burst = 50

  init(_ arguments: [String]) {
    var rest = arguments.dropFirst()
    while let name = rest.popFirst() {
      let value = rest.popFirst() ?? ""
      switch name {
      case "--count": count = max(1, Int(value) ?? count)
      case "--program": program = value
      case "--reference": reference = value
      case "--reservations": reservations = value.split(separator: ",").compactMap { Int($0) }.sorted()
      case "--burst": burst = max(1, Int(value) ?? burst)
      default: print("cni-bench: unknown option \(name)")
      }
    }
  }
}

/// The measurements.
struct Benchmark {
  let options: Options
  init(_ options: Options) { self.options = options }

  func run() throws {
    guard geteuid() == 0 else { throw Failed("needs root: it makes network namespaces") }
    let program = options.program.hasPrefix("/") ? options.program : try Self.absolute(options.program)
    guard Files.isExecutable(program) else { throw Failed("\(program) is missing: make build, or --program PATH") }
    guard Files.isExecutable("\(options.reference)/bridge") else {
      throw Failed("\(options.reference)/bridge is missing: apt-get install containernetworking-plugins")
    }
    let home = try NetworkNamespace.current()
    let directory = "/tmp/weft-bench-\(getpid())"
    let ours = try Stage("ours", bin: "", program: program, directory: directory)
    let theirs = try Stage("theirs", bin: options.reference, program: nil, directory: directory)
    var pods: [Pod] = []
    defer {
      try? home.enter()
      for p in pods { try? NetworkNamespace.remove(path: p.path) }
      for s in [ours, theirs] { s.remove() }
      try? Files.removeTree(directory)
    }
    for i in 0..<max(options.count, options.burst) {
      let path = "/run/netns/weft-bench-pod\(i)-\(getpid())"
      try NetworkNamespace.create(path: path)
      pods.append(Pod(id: "pod-\(i)", path: path, number: i))
    }
    print("bridge + host-local, medians of \(options.count), milliseconds; \(options.reference) = 1.00")
    print("operation                                    CPU ours   theirs  ratio   wall ours   theirs  ratio")
    var present = 0
    for r in options.reservations {
      for s in [ours, theirs] { try s.reserve(r, from: present) }
      present = r
      try cycle(ours, theirs, pods, r)
    }
    try floor(ours, pods)
    try burst(ours, theirs, pods)
    try portmap(ours, theirs, pods)
  }

  /// ADD and DEL, the two implementations in turn, so that both meet the same machine.
  private func cycle(_ ours: Stage, _ theirs: Stage, _ pods: [Pod], _ reservations: Int) throws {
    var add: [[Cost]] = [[], []]
    var del: [[Cost]] = [[], []]
    for i in -3..<options.count {
      for (k, stage) in [ours, theirs].enumerated() {
        let pod = pods[max(0, i)]
        let a = try stage.call("bridge", "ADD", pod)
        let d = try stage.call("bridge", "DEL", pod)
        guard i >= 0 else { continue }  // the first ones only warm up
        add[k].append(a)
        del[k].append(d)
      }
    }
    print(Self.row("ADD, \(reservations) reservations", add[0].median, add[1].median))
    print(Self.row("DEL, \(reservations) reservations", del[0].median, del[1].median))
  }

  /// The least a DEL can take: `ip link del` of the same kind of pair.
  private func floor(_ stage: Stage, _ pods: [Pod]) throws {
    try stage.enter()
    var costs: [Cost] = []
    for i in 0..<options.count {
      var batch = RouteBatch()
      let pod = try NetworkNamespace(path: pods[i % pods.count].path)
      var socket = try RouteSocket()
      guard let bridge = try socket.link(named: "cni0") else { throw Failed("no bridge") }
      batch.createLink(
        Link(name: "vethfloor", kind: .veth, master: bridge.index), up: true,
        peer: VethPeer(name: "eth0", namespace: pod.descriptor, mac: nil, mtu: 0))
      try socket.apply(batch)
      try Self.bringUp("eth0", in: pod)
      costs.append(
        try Cost.measure {
          let out = try ChildProcess.run("/usr/sbin/ip", ["link", "del", "vethfloor"])
          guard out.exit.isSuccess else { throw Failed("ip link del: \(out.errorText)") }
        })
    }
    let m = costs.median
    print(Self.pad("ip link del (floor of DEL)", 44) + Self.number(m.cpu) + Self.pad("", 28) + Self.number(m.wall))
  }

  private static func bringUp(_ name: String, in namespace: borrowing NetworkNamespace) throws {
    var socket = try RouteSocket(in: namespace)
    guard let link = try socket.link(named: name) else { throw Failed("no \(name)") }
    var batch = RouteBatch()
    batch.setLink(index: link.index, up: true)
    try socket.apply(batch)
  }

  /// Many ADDs at once, then many DELs.
  private func burst(_ ours: Stage, _ theirs: Stage, _ pods: [Pod]) throws {
    let commands = ["ADD", "DEL"]
    var costs: [[Cost]] = [[], []]
    for stage in [ours, theirs] {
      for (k, command) in commands.enumerated() {
        let before = try stage.reservations()
        var failures = 0
        costs[k].append(
          try Cost.measure { failures = try start(stage, "bridge", command, pods) { _ in stage.configuration } })
        let change = try stage.reservations() - before
        print("  \(stage.name): \(options.burst) \(command) at once, \(failures) failed, addresses \(change)")
      }
    }
    for (command, c) in zip(commands, costs) {
      print(Self.row("\(options.burst) \(command) at once, total", c[0], c[1]))
    }
  }

  /// Starts all, waits for all; the number that failed.
  func start(
    _ stage: Stage, _ plugin: String, _ command: String, _ pods: [Pod], _ configuration: (Pod) -> [UInt8]
  ) throws -> Int {
    try stage.enter()
    var children: [ChildProcess] = []
    for pod in pods.prefix(options.burst) {
      let input = "\(stage.directory)/config"
      try Files.writeAtomically(configuration(pod), to: input, mode: 0o600, durable: false)
      let stdin = try FileDescriptor.open(input, O_RDONLY)
      children.append(
        try ChildProcess.start(
          "\(stage.bin)/\(plugin)", [], environment: stage.environment(command, pod), stdin: stdin.number))
    }
    return try children.filter { try !$0.wait().isSuccess }.count
  }

  // MARK: text

  private static func absolute(_ path: String) throws -> String {
    guard let p = unsafe realpath(path, nil) else { throw Failed("\(path) is missing: make build, or --program PATH") }
    defer { unsafe free(p) }
    return unsafe String(cString: p)
  }

  static func row(_ name: String, _ ours: Cost, _ theirs: Cost) -> String {
    func ratio(_ a: Int64, _ b: Int64) -> String { pad(decimal(b == 0 ? 0 : a * 100 / b), 7, left: true) }
    return pad(name, 44) + number(ours.cpu) + number(theirs.cpu) + ratio(ours.cpu, theirs.cpu) + "   "
      + number(ours.wall) + number(theirs.wall) + ratio(ours.wall, theirs.wall)
  }

  /// Milliseconds with two decimals in nine columns.
  private static func number(_ nanoseconds: Int64) -> String { pad(decimal(nanoseconds / 10_000), 9, left: true) }

  private static func decimal(_ hundredths: Int64) -> String {
    let rest = hundredths % 100
    return "\(hundredths / 100).\(rest < 10 ? "0" : "")\(rest)"
  }

  private static func pad(_ text: String, _ width: Int, left: Bool = false) -> String {
    let space = String(repeating: " ", count: max(0, width - text.utf8.count))
    return left ? space + text : text + space
  }
}
