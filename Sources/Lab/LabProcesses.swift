import Glibc
import Syscalls

/// The processes of a lab, whether or not they recorded themselves: those in one of its network namespaces, those on
/// their way into one, and agents that use its registry. A command that was killed may have left any of them.
struct LabProcesses {
  private struct File: Hashable {
    let device: UInt64
    let inode: UInt64

    init?(_ path: String) {
      guard let status = try? Files.status(path) else { return nil }
      device = status.device
      inode = status.inode
    }
  }

  /// What every program that is started on a node begins with, without the program itself.
  private let enter: [String]
  private let registry: String
  private let namespaces: Set<File>
  /// This program and those it was started by.
  private let spared: Set<pid_t>

  init(_ directory: LabDirectory) {
    enter = ["lab", "enter", "--name", directory.names.lab, "--state-dir", directory.root]
    registry = directory.registry
    var namespaces = Set(directory.namespaces().compactMap { File(LabNames.path($0)) })
    // A name may be mounted over something else; the machine's own programs are never a lab's.
    if let machine = File("/proc/1/ns/net") { namespaces.remove(machine) }
    self.namespaces = namespaces
    var spared = Set<pid_t>()
    var next: pid_t? = getpid()
    while let pid = next, pid > 0, spared.insert(pid).inserted { next = Self.parent(of: pid) }
    self.spared = spared
  }

  /// Those that run now.
  func running() -> [ProcessIdentity] {
    ((try? Files.list("/proc")) ?? []).compactMap { name in
      // The identity is read first: what is looked at afterwards cannot be of an earlier process.
      guard let pid = pid_t(name), !spared.contains(pid), let process = ProcessIdentity(running: pid),
        isInside(pid) || isStarted(Self.words(of: pid))
      else { return nil }
      return process
    }
  }

  /// Ends them, and looks again until there are none: those that end may have started others.
  /// - Returns: those that do not end.
  func end() -> [ProcessIdentity] {
    var left = running()
    for _ in 0..<10 where !left.isEmpty {
      for process in left { process.signal(SIGTERM) }
      for process in left { _ = process.end(grace: 1) }
      left = running()
    }
    return left
  }

  private func isInside(_ pid: pid_t) -> Bool {
    guard !namespaces.isEmpty, let own = File("/proc/\(pid)/ns/net") else { return false }
    return namespaces.contains(own)
  }

  /// By the words of a command line, the program's name being the first.
  func isStarted(_ words: [String]) -> Bool {
    if words.dropFirst().starts(with: enter) { return true }
    return words.dropFirst().first == "agent"
      && zip(words, words.dropFirst()).contains { $0 == "--registry-dir" && $1 == registry }
  }

  private static func words(of pid: pid_t) -> [String] {
    guard let text = try? Files.text("/proc/\(pid)/cmdline", limit: 4 << 20) else { return [] }
    return text.split(separator: "\0", omittingEmptySubsequences: false).map(String.init)
  }

  private static func parent(of pid: pid_t) -> pid_t? {
    guard let text = try? Files.text("/proc/\(pid)/stat", limit: 1 << 16), let close = text.lastIndex(of: ")") else {
      return nil
    }
    let fields = text[text.index(after: close)...].split(separator: " ")
    return fields.count > 1 ? pid_t(fields[1]) : nil
  }
}
