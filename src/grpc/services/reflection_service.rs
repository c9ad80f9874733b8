//! Server reflection, v1 and v1alpha: each caller is told of the methods that it may call.

use std::collections::BTreeMap;

use prost::Message as _;
use prost_types::FileDescriptorSet;
use tonic::service::Routes;
use tonic_reflection::server::Builder;

use crate::access::{Identity, Policy};
use crate::config::{CallerSettings, Config};
use crate::error::{Error, ErrorKind, Result};
use crate::grpc::descriptors::DESCRIPTORS;
use crate::grpc::method_names::HEALTH;

/// The reflection services.
pub(crate) struct ReflectionServices {
    /// All methods, for callers that are not authenticated.
    whole: Routes,
    /// By the section of a caller.
    of_callers: BTreeMap<String, Routes>,
}

impl ReflectionServices {
    /// Makes the services of all callers that may call them; `None` where reflection is off.
    ///
    /// # Errors
    /// Descriptors that are inconsistent: a defect of the build.
    pub(crate) fn new(config: &Config) -> Result<Option<Self>> {
        if !config.grpc.reflection {
            return Ok(None);
        }
        let whole = services(&Policy::Everything)?;
        let of_caller = |(section, settings): (&String, &CallerSettings)| {
            Ok((section.clone(), services(&Policy::new(section, settings.clone()))?))
        };
        let of_callers = config.callers.iter().map(of_caller).collect::<Result<_>>()?;
        Ok(Some(Self { whole, of_callers }))
    }

    /// The services as one caller sees them.
    pub(crate) fn of(&self, caller: &Identity) -> Option<&Routes> {
        match caller.policy.section() {
            None => Some(&self.whole),
            Some(section) => self.of_callers.get(section),
        }
    }
}

fn services(policy: &Policy) -> Result<Routes> {
    let builder = || -> Result<Builder<'static>> {
        let mut builder = Builder::configure();
        for encoded in DESCRIPTORS {
            let mut descriptors = FileDescriptorSet::decode(encoded).map_err(inconsistent)?;
            retain_permitted(&mut descriptors, policy);
            builder = builder.register_file_descriptor_set(descriptors);
        }
        Ok(builder)
    };
    let v1 = builder()?.build_v1().map_err(inconsistent)?;
    let v1alpha = builder()?.build_v1alpha().map_err(inconsistent)?;
    Ok(Routes::new(v1).add_service(v1alpha).prepare())
}

/// Takes out the methods that a caller may not call, and services without any.
fn retain_permitted(descriptors: &mut FileDescriptorSet, policy: &Policy) {
    for file in &mut descriptors.file {
        let package = file.package().to_owned();
        for service in &mut file.service {
            let prefix = format!("{package}.{}/", service.name());
            service.method.retain(|method| {
                let path = format!("{prefix}{}", method.name());
                path.starts_with(HEALTH) || policy.check_rpc(&path).is_ok()
            });
        }
        file.service.retain(|service| !service.method.is_empty());
    }
}

fn inconsistent(error: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::new(ErrorKind::Internal, "the descriptors are inconsistent").with_cause(error)
}
