import Glibc
import Syscalls

/// A program of this package that has not been built.
public struct ProductMissing: Error, CustomStringConvertible {
  /// What is missing and where it was looked for.
  public let description: String
}

/// The path of a program built with the tests: in `$WEFT_BIN_DIR`, or beside the test bundle.
public func builtProduct(_ name: String) throws -> String {
  var directories: [String] = []
  if let directory = Environment.get("WEFT_BIN_DIR") { directories.append(directory) }
  directories.append(contentsOf: bundleDirectories())
  for directory in directories where Files.isExecutable("\(directory)/\(name)") { return "\(directory)/\(name)" }
  throw ProductMissing(
    description: "\(name) not found in \(directories.joined(separator: ", ")): build it, or set WEFT_BIN_DIR")
}

/// The directories of the running program and of the test bundle it was told to run.
private func bundleDirectories() -> [String] {
  var buffer = [CChar](repeating: 0, count: 4096)
  let n = readlink("/proc/self/exe", &buffer, buffer.count - 1)
  var out: [String] = []
  if n > 0 {
    out.append(Files.split(String(decoding: buffer[..<n].map { UInt8(bitPattern: $0) }, as: UTF8.self)).directory)
  }
  for argument in CommandLine.arguments where argument.contains(".xctest") {
    out.append(Files.split(argument).directory)
  }
  return out
}
