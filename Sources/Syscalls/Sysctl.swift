import Glibc

/// Kernel parameters below `/proc/sys`; those of the network are the calling thread's namespace's. Names are given with
/// slashes, because interface names may contain dots.
public enum Sysctl {
  /// The value without white space at its end; the values used here are short.
  public static func read(_ name: String) throws(SystemError) -> String {
    var buffer = [UInt8](repeating: 0, count: 64)
    let path = "/proc/sys/\(name)"
    let n = try FileDescriptor.open(path, O_RDONLY).read(into: &buffer, object: path)
    let length = buffer[..<n].lastIndex { $0 > 0x20 }.map { $0 + 1 } ?? 0
    return String(decoding: buffer[..<length], as: UTF8.self)
  }

  /// Sets a value.
  public static func write(_ name: String, _ value: String) throws(SystemError) {
    let path = "/proc/sys/\(name)"
    try FileDescriptor.open(path, O_WRONLY).write(value.utf8, object: path)
  }

  /// Sets a value unless it is there already; false when nothing had to be written.
  @discardableResult
  public static func ensure(_ name: String, _ value: String) throws(SystemError) -> Bool {
    if try read(name) == value { return false }
    try write(name, value)
    return true
  }
}
