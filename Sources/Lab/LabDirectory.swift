import Glibc
import JSON
import Syscalls

/// Where a lab keeps its state between commands: `ROOT/LAB/`, with `lab.json`, the registry shared by the agents and a
/// directory per node.
public struct LabDirectory: Hashable, Sendable {
  /// The directory of all labs when none is given.
  public static let defaultRoot = "/run/weft-lab"

  /// The directory of all labs.
  public let root: String
  /// The names of this lab.
  public let names: LabNames

  /// Nothing is made yet.
  public init(root: String, names: LabNames) {
    self.root = root
    self.names = names
  }

  /// `ROOT/LAB`
  public var path: String { "\(root)/\(names.lab)" }
  /// The description of the lab.
  public var planFile: String { "\(path)/lab.json" }
  /// The process a demo's lab belongs to.
  var ownerFile: String { "\(path)/owner.pid" }
  /// The directory of leases, for the agents' `--registry-dir`.
  public var registry: String { "\(path)/registry" }
  /// The directory of node directories.
  public var nodes: String { "\(path)/nodes" }
  /// A node's directory.
  public func node(_ name: String) -> NodeDirectory { NodeDirectory(name: name, path: "\(nodes)/\(name)") }

  /// Names of the labs that have a state directory.
  public static func labs(root: String) -> [String] {
    var found = Set<String>()
    for name in (try? Files.list(root)) ?? [] where (try? LabNames(lab: name)) != nil { found.insert(name) }
    return found.sorted()
  }

  /// Writes the description.
  public func write(_ plan: LabPlan) throws {
    try Files.writeAtomically(Array(plan.json.text(.pretty).utf8) + [0x0a], to: planFile, mode: 0o644, durable: false)
  }

  /// Reads the description.
  /// - Throws: when there is no such lab, or its description cannot be read.
  public func readPlan() throws -> LabPlan {
    guard Files.isDirectory(path) else {
      let others = Self.labs(root: root)
      let known = others.isEmpty ? "there is none" : "there is \(others.joined(separator: ", "))"
      throw LabError(
        "there is no lab \"\(names.lab)\"", advice: "\(known); make one with `weft lab up --name \(names.lab)`")
    }
    do {
      return try LabPlan(json: JSONValue(parsing: Files.read(planFile, limit: 1 << 16)))
    } catch {
      throw LabError(
        "the description of lab \"\(names.lab)\", \(planFile), cannot be used: \(error)",
        advice: "`weft lab down --name \(names.lab)` removes what is left")
    }
  }

  /// Names of the nodes that have a directory, in order.
  public func nodeNames() -> [String] {
    ((try? Files.list(nodes)) ?? []).compactMap { name in LabNames.nodeNumber(name).map { ($0, name) } }
      .sorted { $0.0 < $1.0 }.map(\.1)
  }

  /// Names of this lab's network namespaces.
  public func namespaces() -> [String] {
    ((try? Files.list(LabNames.namespaceDirectory)) ?? []).filter(names.owns(namespace:)).sorted()
  }
}

/// The directory of a node. Inside the node its parts lie over the places where an agent and plugins look.
public struct NodeDirectory: Hashable, Sendable {
  /// The node's name.
  public let name: String
  /// The directory.
  public let path: String

  /// What lies over what inside the node.
  static let mounts: [(directory: String, target: String)] = [
    ("run-flannel", "/run/flannel"), ("etc-cni-net.d", "/etc/cni/net.d"), ("var-lib-cni", "/var/lib/cni"),
    ("etc-kube-flannel", "/etc/kube-flannel"),
  ]

  /// The agent's subnet.env.
  public var subnetFile: String { "\(path)/run-flannel/subnet.env" }
  /// The CNI configuration list.
  public var conflist: String { "\(path)/etc-cni-net.d/10-flannel.conflist" }
  /// What is `/var/lib/cni` inside the node.
  public var cniState: String { "\(path)/var-lib-cni" }
  /// What the agent printed.
  public var log: String { "\(path)/agent.log" }
  /// Process id and start time of the agent.
  public var pidFile: String { "\(path)/agent.pid" }
  /// One file per pod.
  public var pods: String { "\(path)/pods" }
  /// The iptables lock of the node.
  var xtablesLock: String { "\(path)/xtables.lock" }

  /// Makes the directory with all its parts.
  func create() throws(SystemError) {
    for (directory, _) in Self.mounts { try Files.makeDirectory("\(path)/\(directory)") }
    try Files.makeDirectory(pods)
    try Files.writeAtomically([], to: xtablesLock, mode: 0o600, durable: false)
  }

  /// The last lines of the agent's log.
  public func logTail(_ count: Int = 8) -> [String] {
    guard let text = try? Files.text(log, limit: 64 << 20) else { return [] }
    return text.split(separator: "\n").suffix(count).map(String.init)
  }
}

/// The exclusive use of a lab by one command. The lock file lies beside the lab's directory, so that it outlives the
/// directory's removal.
struct LabLock: ~Copyable {
  private let file: FileDescriptor
  private let path: String

  private init(_ file: consuming FileDescriptor, _ path: String) {
    self.file = file
    self.path = path
  }

  /// Waits at most `seconds` for another command to end.
  static func take(_ directory: LabDirectory, seconds: Int64) throws -> LabLock {
    let path = "\(directory.root)/.\(directory.names.lab).lock"
    let deadline = Clock.monotonic() + seconds * 1_000_000_000
    while true {
      try Files.makeDirectory(directory.root)
      if let file = try attempt(path) { return LabLock(file, path) }
      guard Clock.monotonic() < deadline else {
        throw LabError(
          "another command is working on lab \"\(directory.names.lab)\"", advice: "try again when it is done")
      }
      try Interruption.check()
      Clock.sleep(nanoseconds: 20_000_000)
    }
  }

  /// nil when another command has the lock. It may also have removed the file between our opening and locking it: then
  /// the lock is worth nothing.
  private static func attempt(_ path: String) throws -> FileDescriptor? {
    let file = try FileDescriptor.open(path, O_RDWR | O_CREAT, mode: 0o600)
    guard try file.tryLock(object: path), let there = try? Files.status(path) else { return nil }
    guard try file.status().inode == there.inode else { return nil }
    return file
  }

  /// Ends the exclusive use. The lock file stays as long as there is a lab.
  func release(_ directory: LabDirectory) {
    if !Files.exists(directory.path) {
      _ = try? Files.remove(path)
      _ = unsafe rmdir(directory.root)
    }
    flock(file.number, LOCK_UN)
  }
}
