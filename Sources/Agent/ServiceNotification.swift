import Glibc
import Syscalls

/// Tells a service manager about the state of the process, in systemd's `sd_notify(3)` protocol.
public enum ServiceNotification {
  /// Sends `READY=1` to the socket named by `NOTIFY_SOCKET`; nothing is sent when the variable is not set.
  /// - Returns: true when it was sent.
  @discardableResult
  public static func ready() throws(SystemError) -> Bool {
    guard let name = Environment.get("NOTIFY_SOCKET"), !name.isEmpty else { return false }
    try send("READY=1", to: name)
    return true
  }

  /// Sends one message. A name that starts with `@` is an abstract socket, otherwise it is a path.
  static func send(_ message: String, to name: String) throws(SystemError) {
    var path = Array(name.utf8)
    // An abstract name is marked by a zero byte and not terminated; a path is terminated.
    if path.first == UInt8(ascii: "@") { path[0] = 0 } else { path.append(0) }
    var address = sockaddr_un()
    address.sun_family = sa_family_t(AF_UNIX)
    guard path.count > 1, path.count <= MemoryLayout.size(ofValue: address.sun_path) else {
      throw SystemError("notify", "NOTIFY_SOCKET=\(name)", Errno(rawValue: ENAMETOOLONG))
    }
    unsafe withUnsafeMutableBytes(of: &address.sun_path) { unsafe $0.copyBytes(from: path) }
    let length = socklen_t(MemoryLayout<sa_family_t>.size + path.count)
    let kind = Int32(SOCK_DGRAM.rawValue | SOCK_CLOEXEC.rawValue)
    let socket = FileDescriptor(adopting: try retrying("socket") { Glibc.socket(AF_UNIX, kind, 0) })
    let bytes = Array(message.utf8)
    try retrying("notify", "NOTIFY_SOCKET=\(name)") {
      unsafe withUnsafeBytes(of: &address) { raw in
        unsafe sendto(
          socket.number, bytes, bytes.count, Int32(MSG_NOSIGNAL),
          raw.baseAddress?.assumingMemoryBound(to: sockaddr.self), length)
      }
    }
  }
}
