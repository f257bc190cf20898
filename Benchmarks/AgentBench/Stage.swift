import Glibc
import NetTypes
import Netlink
import Syscalls

/// A node for one agent: a namespace with `eth0`, and a registry in memory, so that what is measured is the agent and not
/// the disk.
final class Stage {
  let path = "/run/netns/weft-bench-\(getpid())"
  let directory = "/dev/shm/weft-bench-\(getpid())"

  init(_ configuration: String) throws {
    try Files.removeTree(directory)
    try Files.makeDirectory(directory + "/registry/subnets")
    try Files.makeDirectory(directory + "/registry/.tmp")
    try NetworkNamespace.create(path: path)
    var socket = try RouteSocket(in: try NetworkNamespace(path: path))
    var batch = RouteBatch()
    batch.setLink(index: 1, up: true)
    batch.createLink(
      Link(name: "eth0", kind: .veth), up: true, peer: VethPeer(name: "eth1", namespace: -1, mac: nil, mtu: 1500))
    try socket.apply(batch)
    batch = RouteBatch()
    batch.setLink(index: try socket.link(named: "eth1")?.index ?? 0, up: true)
    batch.set(
      InterfaceAddress(
        device: try socket.link(named: "eth0")?.index ?? 0,
        prefix: IPPrefix(base: IPAddress(.ipv4, 0xac1f_4d0b), length: 24)))
    try socket.apply(batch)
    try Files.writeAtomically(Array(configuration.utf8), to: directory + "/registry/config", mode: 0o644)
  }

  func remove() {
    try? NetworkNamespace.remove(path: path)
    try? Files.removeTree(directory)
  }

  /// A peer joins. As an agent does it: written elsewhere, then moved into place.
  func write(_ i: Int) throws {
    let key = subnet(i).base.description + "-24"
    let temporary = directory + "/registry/.tmp/" + key
    try FileDescriptor.open(temporary, O_WRONLY | O_CREAT, mode: 0o644).write(lease(i))
    guard rename(temporary, directory + "/registry/subnets/" + key) == 0 else { throw SystemError("rename", key) }
  }

  /// Starts the agent directly in the namespace: nothing but its own work is measured.
  func start(_ agent: String, _ flags: [String]) throws -> ChildProcess {
    let directory = directory
    try Files.remove(directory + "/subnet.env")
    let log = try FileDescriptor.open(directory + "/log", O_WRONLY | O_CREAT | O_TRUNC, mode: 0o644)
    let arguments =
      [
        "agent", "--registry-dir", directory + "/registry", "--iface", "eth0", "--subnet-file",
        directory + "/subnet.env",
      ] + flags
    let number = log.number
    return try NetworkNamespace(path: path).run { () throws(SystemError) in
      try ChildProcess.start(agent, arguments, stderr: number)
    }
  }
}
