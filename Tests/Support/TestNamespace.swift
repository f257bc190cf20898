import Glibc
import JSON
import Netlink
import Syscalls

/// A network namespace for one test, removed with the value. Programs are run inside through `nsenter`; sockets are
/// opened with `socket()`.
public final class TestNamespace: Sendable {
  /// Unique name, as `ip netns` shows it.
  public let name: String
  /// Where it is mounted.
  public var path: String { "/run/netns/\(name)" }

  /// A program that did not end with status 0.
  public struct Failure: Error, CustomStringConvertible {
    /// Command, exit status and output.
    public let description: String
  }

  /// Makes a namespace.
  /// - Parameters:
  ///   - tag: part of the name, to recognise it; a few letters.
  ///   - loopback: bring `lo` up.
  public init(_ tag: String = "x", loopback: Bool = true) throws {
    name = "weft-t-\(tag)-\(getpid())-\(String(UInt32.random(in: 0 ... .max), radix: 36))"
    try NetworkNamespace.create(path: path)
    if loopback { try ip("link", "set", "lo", "up") }
  }

  deinit { remove() }

  /// Removes it now; done by itself at the end of the value's life.
  public func remove() { try? NetworkNamespace.remove(path: path) }

  /// The namespace, opened.
  public func open() throws -> NetworkNamespace { try NetworkNamespace(path: path) }

  /// A request socket inside.
  public func socket() throws -> RouteSocket { try RouteSocket(in: open()) }

  /// `ip -n NAME -j …`; the output as JSON, null if there is none.
  @discardableResult
  public func ip(_ arguments: String...) throws -> JSONValue {
    try Self.json(Self.checked("/usr/sbin/ip", ["-n", name, "-j"] + arguments))
  }

  /// `bridge -n NAME -j …`; the output as JSON, null if there is none.
  @discardableResult
  public func bridge(_ arguments: String...) throws -> JSONValue {
    try Self.json(Self.checked("/usr/sbin/bridge", ["-n", name, "-j"] + arguments))
  }

  /// Runs commands of `ip -batch` inside, one per line.
  public func ipBatch(_ commands: String) throws {
    _ = try Self.checked("/usr/sbin/ip", ["-n", name, "-batch", "-"], input: Array(commands.utf8))
  }

  /// Runs any program inside the namespace, whatever its exit status. The mount namespace stays the same.
  public func run(
    _ program: String, _ arguments: [String] = [], environment: [String]? = nil, input: [UInt8] = []
  ) throws -> ChildProcess.Output {
    try ChildProcess.run(
      "/usr/bin/nsenter", ["--net=\(path)", program] + arguments, environment: environment, input: input)
  }

  /// Runs a program to its end; another status than 0 is thrown with what it wrote.
  private static func checked(
    _ program: String, _ arguments: [String], input: [UInt8] = []
  ) throws -> ChildProcess.Output {
    let output = try ChildProcess.run(program, arguments, input: input)
    guard output.exit.isSuccess else {
      let command = ([program] + arguments).joined(separator: " ")
      throw Failure(description: "\(command): \(output.exit): \(output.errorText)\(output.text)")
    }
    return output
  }

  private static func json(_ output: ChildProcess.Output) throws -> JSONValue {
    if output.stdout.allSatisfy({ $0 <= 0x20 }) { return .null }
    return try JSONValue(parsing: output.stdout)
  }
}
