# Written by labctl: default data, settings, and no password that everybody knows.
require "json"
settings = JSON.parse(File.read("/etc/redmine-lab/settings.json"))
Redmine::DefaultData::Loader.load(settings["default_language"]) if Redmine::DefaultData::Loader.no_data?
settings.each { |name, value| Setting[name] = value }
admin = User.find_by_login("admin")
if admin && admin.check_password?("admin")
  given = File.read("/etc/redmine-lab/admin.password")
  %w[password password_confirmation].each { |name| admin.send("#{name}=", given) }
  admin.must_change_passwd = false
  admin.save!
end
