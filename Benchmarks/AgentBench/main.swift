// How quickly one agent brings many peers into the kernel, and what it costs: peers known at start, peers arriving
// while it runs, peers leaving. Everything happens in a network namespace of its own. Usage:
//   agent-bench [--agent PATH] [--runs N] [--idle SECONDS] [PEERS…]
import Glibc
import NetTypes
import Netlink
import Syscalls

struct Measurement {
  var subnetFile = 0.0
  var programmed = 0.0
  var programmedCPU = 0.0
  var arrived = 0.0
  var arrivedCPU = 0.0
  var removed = 0.0
  var removedCPU = 0.0
  var rss = 0.0
  var peak = 0.0
  var floor = 0.0
  var floorCPU = 0.0
  /// Time until a removed route, neighbour or forwarding entry is back: median and longest.
  var repair = 0.0
  var worstRepair = 0.0
  /// Time until everything is back after the device was deleted.
  var rebuild = 0.0
}

func milliseconds(_ ns: Int64) -> Double { Double(ns) / 1e6 }

func format(_ v: Double, _ digits: Int = 1) -> String {
  let scale = digits == 0 ? 1.0 : 10.0
  let n = Int64((v * scale).rounded())
  return digits == 0 ? "\(n)" : "\(n / 10).\(abs(n % 10))"
}

func median(_ values: [Double]) -> Double {
  let s = values.sorted()
  return s.isEmpty ? 0 : s[s.count / 2]
}

/// CPU time of a process in ms, from the scheduler's nanosecond counters (`/proc/PID/stat` has 10 ms ticks).
func cpu(_ pid: pid_t) throws -> Double {
  var total = 0.0
  for task in try Files.list("/proc/\(pid)/task") {
    let text = try Files.text("/proc/\(pid)/task/\(task)/schedstat")
    total += Double(text.split(separator: " ").first.flatMap { Int64($0) } ?? 0) / 1e6
  }
  return total
}

func memory(_ pid: pid_t, _ key: String) throws -> Double {
  for line in try Files.text("/proc/\(pid)/status").split(separator: "\n") where line.hasPrefix(key) {
    return Double(line.split(whereSeparator: { !$0.isNumber }).first.flatMap { Int($0) } ?? 0) / 1024
  }
  return 0
}

func subnet(_ i: Int) -> IPPrefix { IPPrefix(base: IPAddress(.ipv4, 0x0a40_0000 + UInt128(i + 2) << 8), length: 24) }

func lease(_ i: Int) -> [UInt8] {
  let ip = IPAddress(.ipv4, 0xac20_0000 + UInt128(i))
  let mac = MACAddress(0x0200_0000_0000 + UInt64(i))
  return Array(
    (#"{"PublicIP":"\#(ip)","PublicIPv6":null,"BackendType":"vxlan","#
      + #""BackendData":{"VNI":1,"VtepMAC":"\#(mac)"}}"#).utf8)
}

func wait(_ what: String, seconds: Double = 120, pid: pid_t, _ done: () throws -> Bool) throws -> Int64 {
  let end = Clock.monotonic() + Int64(seconds * 1e9)
  while true {
    if try done() { return Clock.monotonic() }
    guard Clock.monotonic() < end, Files.exists("/proc/\(pid)/exe") else {
      throw SystemError("wait for", what, Errno(rawValue: ETIMEDOUT))
    }
    Clock.sleep(nanoseconds: 200_000)
  }
}

/// What the kernel alone needs: the same objects in ready-made batches, from this process.
func measureFloor(peers: Int, objects: Bool, _ m: inout Measurement) throws {
  let path = "/run/netns/weft-floor-\(getpid())"
  try NetworkNamespace.create(path: path)
  defer { try? NetworkNamespace.remove(path: path) }
  var socket = try RouteSocket(in: try NetworkNamespace(path: path))
  var batch = RouteBatch()
  batch.setLink(index: 1, up: true)
  batch.createLink(
    Link(
      name: "flannel.1", kind: .vxlan(VXLANOptions(vni: 1, local: IPAddress(.ipv4, 0xac1f_4d0b))), mtu: 1450), up: true)
  try socket.apply(batch)
  let device = try socket.link(named: "flannel.1")?.index ?? 0
  batch = RouteBatch()
  for i in 0..<peers {
    let mac = MACAddress(0x0200_0000_0000 + UInt64(i))
    let s = subnet(i)
    batch.set(Neighbour(device: device, address: s.base, mac: mac))
    batch.set(FDBEntry(device: device, mac: mac, remote: IPAddress(.ipv4, 0xac20_0000 + UInt128(i))))
    let id = UInt32(i + 1)
    if objects {
      batch.set(Nexthop(id: id, gateway: s.base, device: device, isOnlink: true, origin: RouteOrigin.weft))
      batch.set(Route(destination: s, device: device, nexthop: id))
    } else {
      batch.set(Route(destination: s, gateway: s.base, device: device, isOnlink: true))
    }
  }
  let began = Clock.monotonic()
  let cpu = Clock.processCPU()
  try socket.apply(batch)
  m.floorCPU = milliseconds(Clock.processCPU() - cpu)
  m.floor = milliseconds(Clock.monotonic() - began)
}

/// Removes single objects, and then the device, and waits for them to come back.
func measureRepair(
  _ peers: Int, in namespace: borrowing NetworkNamespace, pid: pid_t, _ m: inout Measurement
) throws {
  var socket = try RouteSocket(in: namespace)
  let eth0 = try socket.link(named: "eth0")?.index ?? 0
  func hasRoute(_ i: Int) throws -> Bool {
    guard let r = try socket.route(to: subnet(i).base) else { return false }
    return r.device != eth0 && r.device != 0
  }
  let device = try socket.link(named: "flannel.1")?.index ?? 0
  var times: [Double] = []
  for k in 0..<30 {
    // The pause after the last pass is over, as for damage that comes out of the blue.
    Clock.sleep(nanoseconds: 150_000_000)
    let i = k * 7919 % peers
    guard let route = try socket.routes(.ipv4, device: device).first(where: { $0.destination == subnet(i) }) else {
      throw SystemError("find route", "\(subnet(i))", .noEntry)
    }
    var batch = RouteBatch()
    batch.remove(route)
    try socket.apply(batch)
    let began = Clock.monotonic()
    times.append(milliseconds(try wait("repair", pid: pid) { try hasRoute(i) } - began))
  }
  m.repair = median(times)
  m.worstRepair = times.max() ?? 0
  Clock.sleep(nanoseconds: 300_000_000)
  var batch = RouteBatch()
  batch.deleteLink(index: device)
  try socket.apply(batch)
  let began = Clock.monotonic()
  m.rebuild = milliseconds(try wait("rebuild", pid: pid) { try hasRoute(peers - 1) } - began)
}

func measure(agent: String, peers: Int, option: String) throws -> Measurement {
  let stage = try Stage(
    #"{"Network":"10.64.0.0/10","SubnetLen":24,"Backend":{"Type":"vxlan","NexthopObjects":"\#(option)"}}"#)
  defer { stage.remove() }
  let directory = stage.directory
  let namespace = try NetworkNamespace(path: stage.path)
  var socket = try RouteSocket(in: namespace)
  let eth0 = try socket.link(named: "eth0")?.index ?? 0
  func count() throws -> (Int, Int, Int) {
    guard let device = try socket.link(named: "flannel.1")?.index else { return (0, 0, 0) }
    return (
      try socket.routes(.ipv4).filter { $0.device == device }.count,
      try socket.neighbours(.ipv4, device: device).count, try socket.fdb(device: device).filter(\.isPermanent).count
    )
  }
  func hasRoute(_ i: Int) throws -> Bool {
    guard let r = try socket.route(to: subnet(i).base) else { return false }
    return r.device != eth0 && r.device != 0
  }
  func stop(_ child: ChildProcess) throws {
    child.signal(SIGTERM)
    _ = try child.wait()
  }
  var m = Measurement()

  // Known at start.
  for i in 0..<peers { try stage.write(i) }
  var began = Clock.monotonic()
  let child = try stage.start(agent, ["--healthz-port", "18081", "--iptables-forward-rules=false"])
  m.subnetFile = milliseconds(
    try wait("subnet.env", pid: child.pid) { Files.exists(directory + "/subnet.env") } - began)
  m.programmed = milliseconds(try wait("routes", pid: child.pid) { try hasRoute(peers - 1) } - began)
  m.programmedCPU = try cpu(child.pid)
  Clock.sleep(nanoseconds: 300_000_000)
  let counted = try count()
  guard counted == (peers, peers, peers) else {
    throw SystemError("found routes, neighbours, forwarding entries: \(counted), expected \(peers) of each")
  }
  Clock.sleep(nanoseconds: 1_500_000_000)
  m.rss = try memory(child.pid, "VmRSS:")
  m.peak = try memory(child.pid, "VmHWM:")

  // All leave.
  var before = try cpu(child.pid)
  began = Clock.monotonic()
  for i in 0..<peers { try Files.remove(directory + "/registry/subnets/" + subnet(i).base.description + "-24") }
  m.removed = milliseconds(
    try wait("removal", pid: child.pid) { try (0..<peers).first(where: hasRoute) == nil } - began)
  m.removedCPU = try cpu(child.pid) - before

  // Arriving while it runs.
  Clock.sleep(nanoseconds: 200_000_000)
  before = try cpu(child.pid)
  began = Clock.monotonic()
  for i in 0..<peers { try stage.write(i) }
  m.arrived = milliseconds(try wait("arrival", pid: child.pid) { try hasRoute(peers - 1) } - began)
  guard try wait("arrival", pid: child.pid, { try count() == (peers, peers, peers) }) > 0 else { return m }
  m.arrivedCPU = try cpu(child.pid) - before
  try measureRepair(peers, in: namespace, pid: child.pid, &m)
  try stop(child)
  try measureFloor(peers: peers, objects: option == "always", &m)
  return m
}

nonisolated(unsafe) var agent = "bin/weft"
nonisolated(unsafe) var runs = 3
nonisolated(unsafe) var idleSeconds = 60

func main() throws {
  var arguments = CommandLine.arguments.dropFirst()
  var sizes: [Int] = []
  while let a = arguments.popFirst() {
    switch a {
    case "--agent": agent = arguments.popFirst() ?? agent
    case "--idle": idleSeconds = arguments.popFirst().flatMap { Int($0) } ?? idleSeconds
    case "--runs": runs = arguments.popFirst().flatMap { Int($0) } ?? runs
    default: if let n = Int(a), n > 0, n <= 16_000 { sizes.append(n) }
    }
  }
  if sizes.isEmpty { sizes = [2, 1000, 5000] }
  let titles = [
    "peers", "next hops", "subnet.env", "programmed", "CPU", "arriving", "CPU", "leaving", "CPU", "RSS MiB", "peak",
    "kernel only", "CPU", "repair", "worst", "rebuild",
  ]
  func row(_ cells: [String]) {
    print(cells.map { String(repeating: " ", count: max(1, 12 - $0.utf8.count)) + $0 }.joined())
  }
  print("medians of \(runs) runs, times in ms")
  row(titles)
  for n in sizes {
    for option in ["never", "always"] {
      let all = try (0..<runs).map { _ in try measure(agent: agent, peers: n, option: option) }
      func m(_ k: KeyPath<Measurement, Double>) -> String { format(median(all.map { $0[keyPath: k] })) }
      row([
        "\(n)", option == "never" ? "classic" : "objects", m(\.subnetFile), m(\.programmed), m(\.programmedCPU),
        m(\.arrived), m(\.arrivedCPU), m(\.removed), m(\.removedCPU), m(\.rss), m(\.peak),
        m(\.floor), m(\.floorCPU), m(\.repair), m(\.worstRepair), m(\.rebuild),
      ])
    }
  }
}

do {
  try main()
  try measureRules()
} catch {
  print("agent-bench: \(error)")
  exit(1)
}
