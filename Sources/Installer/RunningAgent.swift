import Glibc
import Syscalls

/// An agent that runs on this machine, as far as `/proc` shows it: from inside a pod, only one of the same pod.
enum RunningAgent {
  /// An agent in the calling thread's network namespace, in words; nil when there is none.
  static func find() -> String? {
    guard let own = try? Files.status("/proc/thread-self/ns/net"), let entries = try? Files.list("/proc") else {
      return nil
    }
    for entry in entries {
      guard let pid = pid_t(entry), pid != getpid(),
        let text = try? Files.text("/proc/\(entry)/cmdline", limit: 1 << 20)
      else { continue }
      let words = text.split(separator: "\0", omittingEmptySubsequences: false).map(String.init)
      guard isAgent(words), let other = try? Files.status("/proc/\(entry)/ns/net"),
        other.device == own.device, other.inode == own.inode
      else { continue }
      return "\(words[0]), process \(pid)"
    }
    return nil
  }

  /// True for the command line of an agent, ours or Flannel's.
  static func isAgent(_ words: [String]) -> Bool {
    guard let program = words.first.map({ Files.split($0).name }) else { return false }
    return program == "flanneld" || program == "weft" && words.dropFirst().first == "agent"
  }
}
