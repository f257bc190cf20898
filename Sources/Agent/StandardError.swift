import Glibc

/// Text for the operator, unbuffered.
enum StandardError {
  /// Writes a text with one `write(2)` where the kernel takes it whole, so that a reader of the pipe never sees two
  /// lines mixed. What cannot be written is lost: there is nobody left to tell.
  static func write(_ text: String, to descriptor: Int32 = STDERR_FILENO) {
    var rest = Array(text.utf8)[...]
    while !rest.isEmpty {
      let n = unsafe rest.withUnsafeBytes { unsafe Glibc.write(descriptor, $0.baseAddress, $0.count) }
      if n > 0 { rest = rest.dropFirst(n) } else if n < 0, errno == EINTR { continue } else { return }
    }
  }
}
