import JSON
import NetTypes
import Syscalls

/// The other side of the protocol: calls the plugins of a list as container runtimes do (contract cni §A3).
public struct Runtime {
  /// An interface to be made in a container.
  public struct Attachment {
    /// `CNI_CONTAINERID`: unique among the containers of the node.
    public var containerID: String
    /// Path of the network namespace; may be empty for DEL.
    public var netns: String
    /// `CNI_IFNAME`: the name inside the container.
    public var ifname: String
    /// `CNI_ARGS`, in order.
    public var args: [(name: String, value: String)]
    /// Values for the capabilities that plugins declare, such as `portMappings`.
    public var capabilityArgs: JSONObject

    /// With the first two alone: `eth0`, without arguments.
    public init(
      containerID: String, netns: String, ifname: String = "eth0", args: [(name: String, value: String)] = [],
      capabilityArgs: JSONObject = JSONObject()
    ) {
      self.containerID = containerID
      self.netns = netns
      self.ifname = ifname
      self.args = args
      self.capabilityArgs = capabilityArgs
    }

    /// How the plugins know it.
    public var id: CNIRequest.Attachment { CNIRequest.Attachment(containerID: containerID, ifname: ifname) }
  }

  /// Directories with plugins, `CNI_PATH`.
  public var path: [String]
  /// What the plugins see besides the `CNI_` variables.
  public var environment: PluginEnvironment
  /// Where the results of ADD are kept for the later commands.
  public var cache: ResultCache
  /// Runs a plugin. The lab puts the plugin into a node's namespaces here.
  public var spawn: PluginHost.Spawn

  /// The defaults are those of the reference library: its cache, this process's environment, plugins as programs.
  public init(
    path: [String], cacheDirectory: String = "/var/lib/cni", environment: PluginEnvironment = .current,
    spawn: @escaping PluginHost.Spawn = PluginHost.execute
  ) {
    self.path = path
    self.environment = environment
    self.cache = ResultCache(directory: cacheDirectory)
    self.spawn = spawn
  }

  // MARK: Commands

  /// Attaches a container. If a plugin fails, all are told to DEL, as runtimes do, and its error is thrown.
  @discardableResult
  public func add(_ list: NetworkConfigurationList, _ a: Attachment) throws(CNIError) -> CNIResult {
    var result: CNIResult?
    do throws(CNIError) {
      for plugin in list.plugins {
        let output = try call(.add, plugin, list, a, previous: result)
        do {
          result = try CNIResult(parsing: try JSONValue(parsing: output), version: list.version)
        } catch {
          throw named(plugin, list, .add, .plain("cannot read its result: \(error)", .decodingFailure))
        }
      }
      let final = result ?? CNIResult()
      try cache.store(final, list, a)
      return final
    } catch {
      for plugin in list.plugins.reversed() { _ = try? call(.del, plugin, list, a, previous: nil) }
      throw error
    }
  }

  /// Detaches a container, the last plugin first. The cached result is forgotten when all have succeeded.
  public func del(_ list: NetworkConfigurationList, _ a: Attachment) throws(CNIError) {
    let previous = list.version >= .v0_4_0 ? cache.result(list, a.id) : nil
    for plugin in list.plugins.reversed() { _ = try call(.del, plugin, list, a, previous: previous) }
    try cache.remove(list.name, a.id)
  }

  /// Asks every plugin whether all is as it was made. Versions below 0.4.0 do not know this.
  public func check(_ list: NetworkConfigurationList, _ a: Attachment) throws(CNIError) {
    guard list.version >= .v0_4_0 else {
      throw CNIError(.incompatibleVersion, "configuration version \"\(list.version)\" does not support CHECK")
    }
    if list.disableCheck { return }
    guard let result = cache.result(list, a.id) else {
      throw .plain("failed to get network \"\(list.name)\" cached result for container \(a.containerID)")
    }
    for plugin in list.plugins { _ = try call(.check, plugin, list, a, previous: result) }
  }

  /// DEL for cached attachments that are not valid, then GC of every plugin (from 1.1.0). All are tried; the first
  /// error is thrown.
  public func gc(_ list: NetworkConfigurationList, valid: [CNIRequest.Attachment]) throws(CNIError) {
    if list.disableGC { return }
    var first: CNIError?
    for a in cache.attachments(list.name) where !valid.contains(a.id) {
      do throws(CNIError) { try del(list, a) } catch { first = first ?? error }
    }
    let value = JSONValue.array(
      valid.map { ["containerID": .string($0.containerID), "ifname": .string($0.ifname)] })
    for plugin in list.plugins where list.version >= .v1_1_0 {
      var p = plugin
      p["cni.dev/valid-attachments"] = value
      p["cni.dev/attachments"] = value
      do throws(CNIError) { _ = try call(.gc, p, list, nil, previous: nil) } catch { first = first ?? error }
    }
    if let first { throw first }
  }

  /// Asks every plugin whether ADD would work (from 1.1.0; before, nothing is known and nothing is thrown).
  public func status(_ list: NetworkConfigurationList) throws(CNIError) {
    guard list.version >= .v1_1_0 else { return }
    for plugin in list.plugins { _ = try call(.status, plugin, list, nil, previous: nil) }
  }

  // MARK: Calling

  private func call(
    _ command: CNIRequest.Command, _ plugin: JSONObject, _ list: NetworkConfigurationList, _ a: Attachment?,
    previous: CNIResult?
  ) throws(CNIError) -> [UInt8] {
    do throws(CNIError) {
      let type = try plugin.string("type") ?? ""
      let program = try PluginHost.find(type, in: path).path
      let stdin = try configuration(plugin, list, a, previous)
      let output: ChildProcess.Output
      do {
        output = try spawn(program, variables(command, a).entries, stdin)
      } catch {
        throw .plain("netplugin failed with no error message: \(error)")
      }
      guard output.exit.isSuccess else { throw CNIError(failure: output) }
      return output.stdout
    } catch {
      throw named(plugin, list, command, error)
    }
  }

  private func variables(_ command: CNIRequest.Command, _ a: Attachment?) -> PluginEnvironment {
    var e = environment
    e["CNI_COMMAND"] = command.rawValue
    e["CNI_CONTAINERID"] = a?.containerID ?? ""
    e["CNI_NETNS"] = a?.netns ?? ""
    e["CNI_IFNAME"] = a?.ifname ?? ""
    e["CNI_ARGS"] = (a?.args ?? []).map { "\($0.name)=\($0.value)" }.joined(separator: ";")
    e["CNI_PATH"] = path.joined(separator: ":")
    return e
  }

  /// The plugin's object with the list's name and version, the previous result and the runtime's values for the
  /// capabilities it declares.
  private func configuration(
    _ plugin: JSONObject, _ list: NetworkConfigurationList, _ a: Attachment?, _ previous: CNIResult?
  ) throws(CNIError) -> [UInt8] {
    var o = plugin
    o["name"] = .string(list.name)
    o["cniVersion"] = .string(list.version.description)
    var runtime = JSONObject()
    for c in try plugin.object("capabilities")?.members ?? [] where c.value == .bool(true) {
      if let value = a?.capabilityArgs[c.name] { runtime[c.name] = value }
    }
    if !runtime.isEmpty { o["runtimeConfig"] = .object(runtime) }
    if let previous { o["prevResult"] = try previous.json(as: list.version) }
    return JSONValue.object(o).bytes(.sorted)
  }

  /// The error with the plugin before its message, in the words of the reference library.
  private func named(
    _ plugin: JSONObject, _ list: NetworkConfigurationList, _ command: CNIRequest.Command, _ error: CNIError
  ) -> CNIError {
    let type = (try? plugin.string("type")) ?? ""
    var e = error
    e.isPlain = false
    e.message =
      "plugin type=\(quoted(type)) name=\(quoted(list.name)) failed (\(command.rawValue.lowercased())): \(e.message)"
    return e
  }
}
