import CNI
import JSON
import Syscalls

/// Takes back what was installed on a node and, on request, the network that the agent made (contract install §7, §8.9).
///
/// Only what is ours or flannel's by name and kind is removed; what is gone already is no error, so that it may run
/// again.
public struct Uninstallation {
  /// Where things are on this machine.
  public struct Places: Hashable, Sendable {
    /// The runtime's plugins.
    public var plugins = "/opt/cni/bin"
    /// The runtime's configuration.
    public var configuration = "/etc/cni/net.d"
    /// What the agent tells the plugin.
    public var subnetFile = "/run/flannel/subnet.env"
    /// What plugins know of containers: `flannel`, `networks`.
    public var state = "/var/lib/cni"

    /// Where everything usually is.
    public init() {}
  }

  /// Where to look.
  public var places: Places
  /// Also the network: devices, routes, rules, subnet.env, the plugins' files about containers.
  public var purges: Bool
  /// Only say what would be removed.
  public var isDry: Bool

  /// Without `purges`, only plugins and configuration.
  public init(_ places: Places = Places(), purges: Bool = false, isDry: Bool = false) {
    self.places = places
    self.purges = purges
    self.isDry = isDry
  }

  /// Removes, in the calling thread's network namespace; a line for everything.
  /// - Returns: true when everything could be removed.
  /// - Throws: before anything is touched, when an agent runs that would make it all again.
  public func run(_ report: Report) throws(InstallError) -> Bool {
    if purges, !isDry, let agent = RunningAgent.find() {
      throw InstallError(
        "an agent runs in this network namespace (\(agent)) and would make everything again", advice: "stop it first")
    }
    var removal = Removal(isDry: isDry, report)
    // Read before anything that knows it is removed.
    let list = flannelConfiguration
    let prefixes = (try? SubnetEnvironment(file: places.subnetFile)).map { $0.networks + $0.ipv6Networks } ?? []
    removeConfiguration(isFlannel: list != nil, &removal)
    removePlugins(&removal)
    if purges {
      var hasPods = false
      NetworkPurge(networks: prefixes).run(&removal, hasPods: &hasPods)
      RulePurge().run(&removal)
      StatePurge(places: places, network: list?.name ?? "cbr0", hasPods: hasPods).run(&removal)
    }
    if removal.count == 0, removal.failures == 0 { report.say("nothing to remove") }
    return removal.failures == 0
  }

  private var configuration: String { "\(places.configuration)/\(ConfigurationInstallation.standardName)" }

  /// The runtime's configuration if it is one of flannel.
  private var flannelConfiguration: NetworkConfigurationList? {
    guard let list = try? NetworkConfigurationList(file: configuration) else { return nil }
    return list.plugins.contains { $0["type"] == "flannel" } ? list : nil
  }

  private func removeConfiguration(isFlannel: Bool, _ removal: inout Removal) {
    let path = configuration
    if Files.exists(path) {
      if isFlannel {
        removal.remove(path) { try Files.remove(path) }
      } else {
        removal.keep(path, "it has no plugin of the type flannel")
      }
    }
    removeLeftovers(places.configuration, of: [ConfigurationInstallation.standardName], &removal)
  }

  private func removePlugins(_ removal: inout Removal) {
    guard Files.exists(places.plugins) else { return }
    for name in PluginRegistry.names {
      let path = "\(places.plugins)/\(name)"
      if case .ours = PluginFile(path, program: nil) { removal.remove(path) { try Files.remove(path) } }
    }
    removeLeftovers(places.plugins, of: PluginRegistry.names, &removal)
  }

  private func removeLeftovers(_ directory: String, of names: [String], _ removal: inout Removal) {
    removal.look(at: directory) { removal in
      guard Files.exists(directory), !Leftovers(directory, of: names).paths.isEmpty else { return }
      try DirectoryLock.holding(directory) {
        for path in Leftovers(directory, of: names).paths { removal.remove(path) { try Files.remove(path) } }
      }
    }
  }
}
