import JSON
import Syscalls

/// A plugin as a program.
public enum PluginMain {
  /// What a call leaves behind.
  public struct Outcome: Hashable, Sendable {
    /// For standard output: a result, an error document, the versions, or nothing.
    public var stdout: [UInt8] = []
    /// For standard error: the messages for the runtime's log.
    public var stderr: [UInt8] = []
    /// 0, or 1 after an error.
    public var exitCode: Int32 = 0

    /// Standard output as text.
    public var text: String { String(decoding: stdout, as: UTF8.self) }
    /// Standard error as text.
    public var errorText: String { String(decoding: stderr, as: UTF8.self) }
  }

  /// The most that is read from standard input, bytes.
  public static let inputLimit = 8 << 20

  /// Runs one call of `plugin`. Nothing but the plugin itself touches the outside, so that tests can call this.
  public static func run(
    _ plugin: any CNIPlugin, environment: PluginEnvironment, host: PluginHost, stdin: () throws -> [UInt8]
  ) -> Outcome {
    var out = Outcome()
    do {
      out = try dispatch(plugin, environment, host, stdin)
    } catch {
      out.stdout = CNIError(error).document
      out.exitCode = 1
    }
    out.stderr.insert(contentsOf: host.messages, at: 0)
    return out
  }

  /// The same with the input at hand.
  public static func run(
    _ plugin: any CNIPlugin, environment: PluginEnvironment, host: PluginHost = PluginHost(), stdin: [UInt8]
  ) -> Outcome {
    run(plugin, environment: environment, host: host) { stdin }
  }

  private static func dispatch(
    _ plugin: any CNIPlugin, _ environment: PluginEnvironment, _ host: PluginHost, _ stdin: () throws -> [UInt8]
  ) throws -> Outcome {
    var out = Outcome()
    let call = try CNIRequest.parse(
      environment: environment, about: type(of: plugin).about, supported: type(of: plugin).supportedVersions,
      host: host, stdin: stdin)
    switch call {
    case .about(let text): out.stderr = Array(text.utf8)
    case .version(let text): out.stdout = Array(text.utf8)
    case .unknown(let command): throw CNIError.environment("unknown CNI_COMMAND: \(command)")
    case .request(let request):
      try refuseOwnNamespace(request)
      guard let result = try plugin.run(request) else { break }
      do {
        out.stdout = try result.document(as: request.version)
      } catch {
        // The caller learns of a failure and nothing of what was made: take it back.
        try? plugin.del(request.with(.del))
        throw error
      }
    }
    return out
  }

  /// ADD and DEL in the plugin's own namespace would reconfigure the host. Checked before anything is done; the
  /// reference library looks only afterwards.
  private static func refuseOwnNamespace(_ request: CNIRequest) throws(CNIError) {
    guard request.command == .add || request.command == .del, !request.netns.isEmpty else { return }
    let override = request.environment["CNI_NETNS_OVERRIDE"]
    if override == "1" || override.lowercased() == "true" { return }
    if request.host.isOwnNamespace(request.netns) {
      throw .namespace("plugin's netns and netns from CNI_NETNS should not be the same")
    }
  }

  /// Runs the call of this process and returns its exit code: standard input is read to its end (not for VERSION, not
  /// without a command), standard output is written in one piece.
  public static func main(_ plugin: any CNIPlugin, plugins: [any CNIPlugin]) -> Int32 {
    let host = PluginHost(plugins: plugins, executable: try? Files.status("/proc/self/exe"))
    let out = run(plugin, environment: .current, host: host) {
      let input = FileDescriptor(adopting: 0)
      do {
        let bytes = try input.readAll(limit: inputLimit)
        _ = input.release()
        return bytes
      } catch {
        _ = input.release()
        throw error
      }
    }
    write(out.stderr, to: 2)
    return write(out.stdout, to: 1) ? out.exitCode : 1
  }

  /// Says on both outputs that there is no such plugin here and returns the exit code.
  public static func unknownPlugin(_ name: String) -> Int32 {
    let known = PluginRegistry.names.joined(separator: ", ")
    let text =
      "unknown plugin \(quoted(name)): this program (\(PluginRegistry.mark)) is \(known); "
      + "call it by one of these names (a link will do) or as `weft-cni NAME`"
    write(Array((text + "\n").utf8), to: 2)
    write(CNIError(.other, text).document, to: 1)
    return 1
  }

  /// Writes to a standard descriptor without closing it; false when that fails.
  @discardableResult
  private static func write(_ bytes: [UInt8], to number: Int32) -> Bool {
    guard !bytes.isEmpty else { return true }
    let fd = FileDescriptor(adopting: number)
    let done = (try? fd.write(bytes)) != nil
    _ = fd.release()
    return done
  }
}
