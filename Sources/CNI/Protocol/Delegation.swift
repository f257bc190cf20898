import JSON
import Syscalls

/// The configuration handed to a delegate.
public struct DelegateConfiguration {
  /// The configuration as a value, for plugins that are called as functions.
  public var json: JSONObject
  /// The same as text: standard input of plugins that are executed.
  public var bytes: [UInt8]

  /// For a configuration made here: written with sorted names, as Go writes maps.
  public init(_ json: JSONObject) {
    self.json = json
    bytes = JSONValue.object(json).bytes(.sorted)
  }

  /// For one that was read: the bytes are passed on as they are.
  public init(_ json: JSONObject, bytes: [UInt8]) {
    self.json = json
    self.bytes = bytes
  }
}

extension CNIRequest {
  /// This request's own configuration, for an address plugin.
  public var ownConfiguration: DelegateConfiguration { DelegateConfiguration(config, bytes: stdin) }

  /// Calls another plugin (contract cni §A4). One of our own is called as a function, any other is executed. Errors of
  /// the plugin keep their code and message; `not found` errors are plain.
  /// - Returns: the result of ADD, nil for every other command.
  @discardableResult
  public func delegate(
    _ type: String, _ command: Command, _ configuration: DelegateConfiguration
  ) throws(CNIError) -> CNIResult? {
    let program = try PluginHost.find(type, in: path)
    if let own = host.ownPlugin(type, program) {
      return try call(own, command, configuration)
    }
    return try execute(program.path, command, configuration)
  }

  /// ADD by a delegate. It gives a result or fails.
  public func delegateAdd(_ type: String, _ configuration: DelegateConfiguration) throws(CNIError) -> CNIResult {
    guard let result = try delegate(type, .add, configuration) else {
      throw .plain("plugin \(quoted(type)) gave no result")
    }
    return result
  }

  /// Calls a plugin of this process with the checks its front end would have made.
  private func call(
    _ plugin: any CNIPlugin, _ command: Command, _ configuration: DelegateConfiguration
  ) throws(CNIError) -> CNIResult? {
    var r = with(command)
    r.config = configuration.json
    r.stdin = configuration.bytes
    r.name = try Self.networkName(configuration.json)
    r.version = try Self.negotiate(
      configuration.json, command: command, supported: Swift.type(of: plugin).supportedVersions)
    do {
      return try plugin.run(r)?.reduced(to: r.version)
    } catch {
      var e = CNIError(error)
      e.isPlain = false
      throw e
    }
  }

  private func execute(
    _ program: String, _ command: Command, _ configuration: DelegateConfiguration
  ) throws(CNIError) -> CNIResult? {
    let output: ChildProcess.Output
    do {
      output = try host.spawn(program, with(command).environment.entries, configuration.bytes)
    } catch {
      throw CNIError(.other, "netplugin failed with no error message: \(error)")
    }
    guard output.exit.isSuccess else { throw CNIError(failure: output) }
    host.pass(output.stderr)
    guard command == .add else { return nil }
    do {
      let version = try CNIVersion(parsing: try configuration.json.string("cniVersion") ?? "")
      return try CNIResult(parsing: try JSONValue(parsing: output.stdout), version: version)
    } catch {
      throw .plain("cannot read the result of \(program): \(error)", .decodingFailure)
    }
  }
}

extension CNIError {
  /// The error of a program that failed: its document, or words about the lack of one (contract cni §A4).
  init(failure output: ChildProcess.Output) {
    guard !output.stdout.isEmpty else {
      let said = output.stderr.isEmpty ? " with no error message" : ": \(quoted(output.errorText))"
      self.init(.other, "netplugin failed\(said): \(output.exit)")
      return
    }
    var why = "not an error document"
    do {
      if let e = CNIError(json: try JSONValue(parsing: output.stdout)) {
        self = e
        return
      }
    } catch {
      why = error.description
    }
    self.init(
      .other, "netplugin failed but error parsing its diagnostic message \(quoted(output.text)): \(why)")
  }
}

extension PluginHost {
  /// Finds a plugin's program in the search path.
  static func find(_ type: String, in path: [String]) throws(CNIError) -> (path: String, status: FileStatus) {
    guard !type.isEmpty else { throw .plain("no plugin name provided") }
    guard !type.utf8.contains(UInt8(ascii: "/")) else { throw .plain("invalid plugin name: \(type)") }
    guard !path.isEmpty else { throw .plain("no paths provided") }
    for directory in path {
      let file = "\(directory)/\(type)"
      if let s = try? Files.status(file), s.isRegular { return (file, s) }
    }
    throw .plain("failed to find plugin \(quoted(type)) in path [\(path.joined(separator: " "))]")
  }

  /// Our plugin of that name if the file is this program itself: the same file or a hard link to it, or a link that
  /// leads there.
  func ownPlugin(_ type: String, _ program: (path: String, status: FileStatus)) -> (any CNIPlugin)? {
    guard let plugin = plugins[type], let executable, executable.device == program.status.device,
      executable.inode == program.status.inode
    else { return nil }
    return plugin
  }
}
